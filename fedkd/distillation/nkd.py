"""NKD: normalised distillation (Yang et al., 2023, arXiv 2303.13005).

With h the distribution among the classes other than the label y, at temperature T, and p at 1::

    L = 1/B * sum_b [ -p_t,y ln p_s,y - gamma T^2 sum_{c != y} h_t ln h_s ]

Confidence: certain (yzd-v/cls_KD: gamma 1.5, T 1, beside a cross-entropy, which is left out).
Traps: both terms are cross-entropies, so the least loss is not 0, and the first one has the student
grow ever surer of the label; two classes leave nothing for the second.
"""

from typing import Literal

from torch import Tensor

from .base import Batch, Target
from .divergences import within
from .targets import Labelled, among_rest, of_own


class NKD(Labelled):
    """Cross-entropies of the label, and among the rest, in nats.

    Parameters
    ----------
    gamma : float
        Weight of the rest, in [0, 1000].
    labels : {"transfer", "teacher"}
        The transfer set's labels, or the teacher's most likely class.
    temperature : float
        Softmax temperature of student and teacher among the rest.

    Examples
    --------
    >>> import torch
    >>> student, teacher = torch.tensor([[0.3, 0.3, 0.4]]).log(), torch.tensor([[0.6, 0.3, 0.1]])
    >>> NKD(labels="teacher")(student, Target(teacher))
    tensor(1.8854)
    """

    def __init__(
        self,
        *,
        gamma: float = 1.5,
        labels: Literal["transfer", "teacher"] = "transfer",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(labels=labels, temperature=temperature)
        within({"gamma": gamma}, 0, 1000)
        self.gamma = gamma

    def tempers(self, kind: str) -> bool:
        """Say so of the other classes: the label's part has none."""
        return self.gamma > 0

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch."""
        own, t = self.chosen(teacher, batch), self.temperature
        sure = of_own(teacher.log_probabilities(), own).exp()
        label = -sure * of_own(student_logits.log_softmax(dim=-1), own)
        rest = among_rest((student_logits / t).log_softmax(dim=-1), own).masked_fill(own, 0.0)
        taught = among_rest(teacher.log_probabilities(t), own).exp()
        return (label - self.gamma * t**2 * (taught * rest).sum(dim=-1)).mean()
