r"""Kullback-Leibler divergence of Gaussians, for regressions that predict variances.

    L = 1/B sum_b sum_t v_s^beta 1/2 ( log(v_s / v_t) + (v_t + (m_t - m_s)^2) / v_s - 1 )

with the teacher's mean m_t and variance v_t, and the student's: KL( teacher || student ). Of a
mixture's moments, it is in gradient the cross-entropy of the mixture itself. The weight v_s^beta
carries no gradient: as in the loss on private data (`fedkd.tasks.regression`), beta = 1 has the
steps of squared error, and beta = 0, the divergence itself, diverges where variances are small.

Confidence: certain for beta = 0 (textbook); the weight is that of beta-NLL (Seitzer et al., ICLR
2022), put on a divergence by us.
"""

import torch

from ..knowledge.predictions import moments
from .base import Batch, Objective, Target


class GaussianKL(Objective):
    """KL divergence of the student's Gaussians from the teacher's, in nats.

    Parameters
    ----------
    beta : float
        Exponent of the student's variance in the weight, in [0, 1].
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

    def __init__(self, *, beta: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        if not 0 <= beta <= 1:
            raise ValueError(f"beta={beta} must be in [0, 1]")
        self.beta = beta

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
        weights = (self.beta * log_variance.detach()).exp()
        each = weights * (log_variance - variance.log() + squares - 1) / 2
        return each.sum() / len(student_logits)
