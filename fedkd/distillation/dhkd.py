"""DHKD: a second head learns from the teacher's logits (Yang et al., 2024, arXiv 2411.08937).

With z_a the logits of an auxiliary head on the student's features, d = sigmoid((z_a - z_t) / T)::

    L_a = T^2 / B * sum ( ln(0.5 / d) + ln(0.5 / (1 - d)) ) / 2
    L   = KL( teacher || student ) + weight * L_a

Where the features' gradient of L_a points against that of the first part, the component along it is
taken out, over a whole batch. The head is linear and lives in the client's memory.

Confidence: certain for L_a and the alignment (penghui-yang/DHKD: T = 2, weight 1, 0.1 on ImageNet),
ours for the rest: there the main head learns from labels alone and the alignment is against the
gradient of their cross-entropy by all shared weights; a distil phase has no labels, so the main
head learns by `kl`, and the alignment is where the two heads part. The head takes steps of plain
SGD of its own.

Traps: the loss is about logits, which a teacher of soft labels gives only up to a constant a
sample: both sides are log-probabilities then, the teacher's mixed with ``smoothing`` of the uniform
distribution, for a soft label of 0 has no logarithm.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..knowledge import kind_named
from .base import Batch, Objective, Target, idle, smoothing_of
from .divergences import within
from .kl import KL
from .nets import Net


class DHKD(Objective):
    """KL divergence, and a binary one of an auxiliary head's logits, aligned with it.

    Parameters
    ----------
    weight : float
        Of the auxiliary head's part, in [0, 10000].
    softness : float
        Its temperature T, in [0.01, 1000].
    lr : float
        The auxiliary head's learning rate, in [0, 10].
    align : bool
        Whether what works against the main head is taken out.
    smoothing : float
        Share of the uniform distribution in a teacher of soft labels, in [1e-9, 0.5].
    temperature : float
        Softmax temperature of student and teacher in the KL divergence.

    Examples
    --------
    >>> binary(torch.zeros(1, 2), torch.tensor([[2.0, 0.0]]), 2.0)
    tensor(0.4805)
    """

    layers = ("head",)
    remembers = True

    def __init__(
        self,
        *,
        weight: float = 1.0,
        softness: float = 2.0,
        lr: float = 0.05,
        align: bool = True,
        smoothing: float = 1e-4,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(temperature)
        within({"weight": weight}, 0, 10_000)
        within({"softness": softness}, 0.01, 1000)
        within({"lr": lr}, 0, 10)
        within({"smoothing": smoothing}, 1e-9, 0.5)
        self.weight, self.softness, self.lr = weight, softness, lr
        self.align, self.smoothing = align, smoothing
        self._kl = KL(temperature=temperature)

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the auxiliary head's, where nobody learns from it, and of smoothing."""
        if not self.weight:
            return idle("weight=0", "softness", "lr", "align", "smoothing")
        return smoothing_of(kind)

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch, and move the auxiliary head for the next one."""
        features, memory = self.features(batch), self.memory(batch)
        main = self._kl(student_logits, teacher)
        seen = features.detach().requires_grad_()
        flat, classes = seen.flatten(1), student_logits.shape[-1]
        head = Net(memory, "head", (flat.shape[1], classes), features)
        scores, target = head(flat), teacher.values
        if kind_named(teacher.kind).simplex:
            uniform = self.smoothing / classes
            target = ((1 - self.smoothing) * teacher.probabilities() + uniform).log()
            scores = scores.log_softmax(dim=-1)
        loss = binary(scores, target, self.softness)
        (slope,) = torch.autograd.grad(loss, seen, retain_graph=True)
        head.learn(loss, self.lr)
        if self.align and features.requires_grad:
            slope = aligned(slope, _slope(main, features))
        pull = (features * slope).sum()  # its gradient is what is left of the head's
        return main + self.weight * (loss.detach() + pull - pull.detach())


def _slope(loss: Tensor, features: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(loss, features, retain_graph=True, allow_unused=True)
    return torch.zeros_like(features) if slope is None else slope


def binary(scores: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Return the mean over samples of the binary KL divergence of logits from those of a teacher.

    Parameters
    ----------
    scores, target : Tensor
        ``[B, C]``.
    temperature : float
        Greater than 0.
    """
    gap = (scores - target) / temperature
    each = -(F.logsigmoid(gap) + F.logsigmoid(-gap)) / 2 + torch.tensor(0.5, dtype=gap.dtype).log()
    return temperature**2 * each.sum(dim=-1).mean()


def aligned(slope: Tensor, main: Tensor) -> Tensor:
    """Return a gradient without what points against `main`.

    Examples
    --------
    >>> aligned(torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 0.0]))
    tensor([0., 1.])
    """
    along = (slope * main).sum()
    square = main.square().sum()
    return slope - along.clamp_max(0) / square.clamp_min(1e-30) * main
