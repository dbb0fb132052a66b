"""Cross-correlation of classes over a batch: FCCL's loss (Huang, Ye, Du, CVPR 2022).

With zn the scores of a batch of B less their mean over the batch, over their standard deviation
there, a class at a time, of student and teacher each::

    M = zn_student' zn_teacher / B                                    [classes, classes], in [-1, 1]
    L = sum_i (1 - M_ii)^2 + redundancy * sum_{i != j} (1 + M_ij)^2

So what the two say of one class is to go together over the samples, and of two classes to go apart.
Scores are logits where the teacher is, else probabilities. How large they are, and which class is
likelier on the whole, is left to the student: only the private loss says that.

It asks the more of scores, the less they vary, so that steps along its gradient have no right size:
it is trained with Adam at 0.001, as there, where ``distil.*`` says nothing else.

Confidence: certain (WenkeHuang/FCCL; redundancy 0.0051). Trap avoided: the public code has the
unbiased deviation beside the division by B, so the correlation of equal scores is (B - 1) / B
there, never 1. A class that is the same throughout a batch correlates with none.
"""

from types import MappingProxyType

from torch import Tensor

from ..knowledge import CLASS_SCORES
from .base import Matching
from .divergences import within

ADAM = MappingProxyType({"optimizer": "adam", "lr": 1e-3})
"""What the losses of FCCL and FCCL+ are trained with."""

LEAST = 1e-5
"""Added to variances: scores that do not vary have a correlation of 0."""


class CrossCorrelation(Matching):
    """Correlates what student and teacher say of a class, over the samples of a batch.

    Parameters
    ----------
    redundancy : float
        Weight of pairs of different classes, in [0, 10000].
    temperature : float
        Softmax temperature of student and teacher; unused where the teacher is logits.

    Examples
    --------
    >>> import torch
    >>> from fedkd.distillation import Target
    >>> scores = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    >>> CrossCorrelation()(scores, Target(scores, "logits")).round(decimals=4)
    tensor(0.)
    """

    per_sample = False
    kinds = CLASS_SCORES
    trained_with = ADAM
    fewest = 2

    def __init__(self, *, redundancy: float = 0.0051, temperature: float = 1.0) -> None:
        super().__init__(temperature=temperature)
        within({"redundancy": redundancy}, 0, 10_000)
        self.redundancy = redundancy

    def compared(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of scores ``[B, classes]`` each."""
        return decorrelation(student, teacher, self.redundancy)


def standardised(scores: Tensor) -> Tensor:
    """Return scores less their mean over the batch, over their deviation, ``[B, classes]``."""
    centred = scores - scores.mean(dim=0)
    variance: Tensor = centred.square().mean(dim=0)
    return centred / (variance + LEAST).sqrt()


def decorrelation(student: Tensor, teacher: Tensor, redundancy: float) -> Tensor:
    """Return L of scores ``[B, classes]`` each."""
    correlation = standardised(student).T @ standardised(teacher) / len(student)
    same = (1 - correlation.diagonal()).square().sum()
    apart = (1 + correlation).square()
    return same + redundancy * (apart.sum() - apart.diagonal().sum())
