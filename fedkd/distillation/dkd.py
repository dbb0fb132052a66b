"""DKD: decoupled distillation (Zhao et al., 2022, arXiv 2203.08679).

With b = (p_y, 1 - p_y) and h the distribution among the other classes, all at temperature T::

    L = T^2 / B * sum_b [ alpha KL( b_t || b_s ) + beta KL( h_t || h_s ) ]

With beta = 1 - p_t,y it would be KL itself: what the teacher holds of the other classes counts more
here.

Confidence: certain (mdistiller: alpha 1, beta 8, T 4). Left out: the cross-entropy beside it, and
its warm-up over 20 epochs, which a distil phase does not have.

Traps: beta belongs to a teacher's confidence: one that is fused of many clients is flat, so the
default is 2 here (inferred), and not the source's 8; two classes leave nothing for beta; a teacher
of 0 on all other classes makes them equal. Avoided: the label is left out by a mask, where the
source subtracts 1000; 1 - p_y is a sum in logarithms, which does not underflow.
"""

from typing import Literal

from torch import Tensor

from .base import Batch, Target
from .divergences import any_of, within
from .targets import Labelled, among_rest, of_own, of_rest


class DKD(Labelled):
    """KL divergences of the label against the rest, and among the rest, in nats.

    Parameters
    ----------
    alpha : float
        Weight of the label against the rest, in [0, 1000].
    beta : float
        Weight of the rest, in [0, 1000].
    labels : {"transfer", "teacher"}
        The transfer set's labels, or the teacher's most likely class.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> import torch
    >>> student, teacher = torch.tensor([[0.3, 0.3, 0.4]]).log(), torch.tensor([[0.6, 0.3, 0.1]])
    >>> DKD(labels="teacher")(student, Target(teacher))
    tensor(0.6181)
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 2.0,
        labels: Literal["transfer", "teacher"] = "transfer",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(labels=labels, temperature=temperature)
        within({"alpha": alpha, "beta": beta}, 0, 1000)
        any_of(alpha=alpha, beta=beta)
        self.alpha, self.beta = alpha, beta

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch."""
        own = self.chosen(teacher, batch)
        student = (student_logits / self.temperature).log_softmax(dim=-1)
        target = teacher.log_probabilities(self.temperature)
        ours, theirs = ((of_own(p, own), of_rest(p, own)) for p in (student, target))
        either = sum(t.exp() * (t - s) for s, t in zip(ours, theirs, strict=True))
        rest, taught = among_rest(student, own), among_rest(target, own)
        among = (taught.exp() * (taught - rest).masked_fill(own, 0.0)).sum(dim=-1)
        return self.temperature**2 * (self.alpha * either + self.beta * among).mean()
