"""ND: features are long and point where their class does (Wang et al., 2023, arXiv 2305.17007).

With f a sample's features, c its class, m_c the mean of its features and e_c = m_c / |m_c|::

    L = kl * KL( teacher || student ) + weight / B * sum_b ( 1 - <f, e_c> / max( |f|, |m_c| ) )

Confidence: certain for the loss (WangYZ1608/Knowledge-Distillation-via-ND: weight 0.5 to 4, which
did harm here: 0.02), ours for its means. There they are a teacher net's, and |m_c| is the norm of
the teacher's features of the same sample; in knowledge fusion no teacher's features travel, so they
are running means of the client's own over the transfer set, sorted by the teacher's most likely
class (or the labels): the teacher says what belongs together. Nothing is detached in the
denominator, as in the source.

Traps: a projector for features of other width is not needed here; the source's warm-up over 20
epochs would switch the KL divergence off in a phase of a few.
"""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from .base import Batch, Target, idle
from .divergences import any_of, within
from .kl import KL
from .nets import class_means
from .targets import Labelled


class ND(Labelled):
    """KL divergence, and how far features are from their class's direction and norm.

    Parameters
    ----------
    weight : float
        Of the features' part, in [0, 10000].
    kl : float
        Of the KL divergence, in [0, 10000].
    rate : float
        Weight of a batch in the running means, in [0.001, 1].
    labels : {"teacher", "transfer"}
        A sample's class: the teacher's most likely one, or the transfer set's label.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> import torch
    >>> means, own = torch.tensor([[3.0, 4.0]]), torch.tensor([[True]])
    >>> off_direction(torch.tensor([[3.0, 0.0]]), means, own).round(decimals=4)
    tensor([0.6400])
    """

    per_sample = False
    layers = ("head",)
    remembers = True

    def __init__(
        self,
        *,
        weight: float = 0.02,
        kl: float = 1.0,
        rate: float = 0.1,
        labels: Literal["teacher", "transfer"] = "teacher",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(labels=labels, temperature=temperature)
        within({"weight": weight, "kl": kl}, 0, 10_000)
        any_of(weight=weight, kl=kl)
        within({"rate": rate}, 0.001, 1)
        self.weight, self.kl, self.rate = weight, kl, rate
        self._kl = KL(temperature=temperature)

    def tempers(self, kind: str) -> bool:
        """Say so of the KL divergence: features have none."""
        return self.kl > 0

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of what features are compared with, where they have no weight."""
        return {} if self.weight else idle("weight=0", "rate", "labels")

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch."""
        features = self.features(batch).flatten(1)
        own = self.chosen(teacher, batch)
        means = class_means(self.memory(batch), "means", features, own, self.rate)
        off = off_direction(features, means, own).mean()
        return self.kl * self._kl(student_logits, teacher) + self.weight * off


def off_direction(features: Tensor, means: Tensor, own: Tensor) -> Tensor:
    """Return ``1 - <f, e> / max(|f|, |m|)`` of each sample, ``[B]``.

    Parameters
    ----------
    features : Tensor
        ``[B, D]``.
    means : Tensor
        ``[C, D]``, of each class.
    own : Tensor
        bool ``[B, C]``, a sample's class.
    """
    mean = own.to(means.dtype) @ means
    longest = features.norm(dim=1).maximum(mean.norm(dim=1)).clamp_min(1e-12)
    return 1 - (features * F.normalize(mean, dim=1)).sum(dim=1) / longest
