r"""Kullback-Leibler divergence of Gaussians, for regressions that predict variances.

    L = 1/B sum_b sum_t 1/2 ( log(v_s / v_t) + (v_t + (m_t - m_s)^2) / v_s - 1 )

with the teacher's mean m_t and variance v_t, and the student's: KL( teacher || student ). Of a
mixture's moments, it is in gradient the cross-entropy of the mixture itself.

Confidence: certain (textbook).
"""

import torch

from ..knowledge.predictions import moments
from .base import Batch, Objective, Target


class GaussianKL(Objective):
    """KL divergence of the student's Gaussians from the teacher's, in nats.

    Parameters
    ----------
    temperature : float
        Unused: Gaussians have a variance of their own.

    Examples
    --------
    >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    >>> GaussianKL()(student, Target(teacher, "gaussian_predictions"))
    tensor(0.5000)
    """

    per_sample = True
    kinds = ("gaussian_predictions",)

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__(temperature)

    def tempers(self, kind: str) -> bool:
        """Say no: Gaussians have a variance of their own."""
        del kind
        return False

    def __call__(
        self, student_logits: torch.Tensor, teacher: Target, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch; outputs ``[B, 2 * targets]``."""
        mean, log_variance = moments(student_logits)
        wanted, variance = teacher.values.chunk(2, dim=-1)
        squares = (variance + (wanted - mean).square()) * (-log_variance).exp()
        each = (log_variance - variance.log() + squares - 1) / 2
        return each.sum() / len(student_logits)
