"""DIST: relations between predictions, not their values (Huang et al., 2022, arXiv 2205.10536).

With r Pearson's correlation and both p at temperature T::

    inter = 1 - mean_b r( p_s[b, :], p_t[b, :] )        over the classes of a sample
    intra = 1 - mean_c r( p_s[:, c], p_t[:, c] )        over the samples of a class
    L     = T^2 ( beta inter + gamma intra )

Confidence: certain (hunto/image_classification_sota: beta = gamma = 1, tau = 1; another copy of it
leaves tau out). Blind to scale and shift: the loss is 0 for every student whose predictions are a
linear function of the teacher's. Traps: a class that no sample of the batch varies in counts as
uncorrelated, costs 1/C, and teaches nothing; a batch of one sample has no intra part, and one of
two has correlations of 1 or -1 only, so ``distil.batch_size`` belongs to the method; an all but
uniform student's gradient is large.
"""

from torch import Tensor

from .base import Batch, Objective, Target
from .divergences import any_of, within

EPS = 1e-8


class DIST(Objective):
    """One minus the correlations of predictions, over classes and over samples.

    Parameters
    ----------
    beta : float
        Weight of the correlations over classes, in [0, 1000].
    gamma : float
        Weight of those over samples, in [0, 1000].
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> import torch
    >>> teacher = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    >>> student = torch.tensor([[0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])
    >>> DIST(gamma=0.0)(student.log(), Target(teacher))
    tensor(0.9015)
    """

    def __init__(self, *, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        within({"beta": beta, "gamma": gamma}, 0, 1000)
        any_of(beta=beta, gamma=gamma)
        self.beta, self.gamma = beta, gamma
        self.fewest = 1 if beta else 3  # those of two samples are 1 or -1, whatever they say

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch."""
        student = (student_logits / self.temperature).softmax(dim=-1)
        target = teacher.probabilities(self.temperature)
        inter = 1 - correlation(student, target).mean()
        intra = 1 - correlation(student.T, target.T).mean()
        return self.temperature**2 * (self.beta * inter + self.gamma * intra)


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Return Pearson's correlation of each row ``[n, m]`` with the same row of another, ``[n]``.

    Examples
    --------
    >>> import torch
    >>> correlation(torch.tensor([[1.0, 2.0], [1.0, 1.0]]), torch.tensor([[5.0, 9.0], [0.0, 1.0]]))
    tensor([1.0000, 0.0000])
    """
    a, b = (rows - rows.mean(dim=-1, keepdim=True) for rows in (one, other))
    return (a * b).sum(dim=-1) / (a.norm(dim=-1) * b.norm(dim=-1) + EPS)
