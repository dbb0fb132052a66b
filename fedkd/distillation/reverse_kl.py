"""Reverse Kullback-Leibler divergence: mode-seeking where `kl` is mass-covering.

    L = T^2 / B * sum_b KL( student_b || teacher_b ),      both softened by temperature T

Confidence: certain (textbook). Trap: it is infinite wherever the teacher gives a class probability
0, as hard or underflowed soft labels do; teacher probabilities are therefore floored at ``eps``, so
a class costs the student at most ``log(1 / eps)``.
"""

import math

import torch

from .base import Batch, Objective, Target


class ReverseKL(Objective):
    """KL divergence of the teacher from the student, in nats.

    Parameters
    ----------
    scale : bool
        Multiply by the squared temperature.
    eps : float
        Floor of the teacher's probabilities, in (0, 1).
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> ReverseKL()(torch.zeros(1, 2), Target(torch.tensor([[0.5, 0.5]])))
    tensor(0.)
    """

    per_sample = True

    def __init__(self, *, scale: bool = True, eps: float = 1e-8, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        if not 0 < eps < 1:
            raise ValueError(f"eps={eps} must be in (0, 1)")
        self.scale, self.eps = scale, eps

    def __call__(
        self, student_logits: torch.Tensor, teacher: Target, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch."""
        student = (student_logits / self.temperature).log_softmax(dim=-1)
        target = teacher.log_probabilities(self.temperature).clamp_min(math.log(self.eps))
        loss = (student.exp() * (student - target)).sum(dim=-1).mean()
        return loss * self.temperature**2 if self.scale else loss
