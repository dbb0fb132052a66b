"""Forward Kullback-Leibler divergence (Hinton, Vinyals and Dean, 2015, arXiv 1503.02531).

    L = T^2 / B * sum_b KL( teacher_b || student_b ),      both softened by temperature T

Confidence: certain. In gradient it equals soft cross-entropy. The factor T^2 keeps the gradient's
size as T grows; FedDF leaves it out (``scale=false``). Traps avoided: the batch
mean is over samples, not over samples x classes, and a teacher probability of 0 contributes 0.
"""

import torch

from .base import Batch, Objective, Target


class KL(Objective):
    """KL divergence of the student from the teacher, in nats.

    Parameters
    ----------
    scale : bool
        Multiply by the squared temperature.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> KL()(torch.zeros(1, 2), Target(torch.tensor([[1.0, 0.0]])))
    tensor(0.6931)
    """

    per_sample = True

    def __init__(self, *, scale: bool = True, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        self.scale = scale

    def __call__(
        self, student_logits: torch.Tensor, teacher: Target, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch."""
        student = (student_logits / self.temperature).log_softmax(dim=-1)
        target = teacher.probabilities(self.temperature)
        # what F.kl_div does to the bit; that one cannot be vectorised over clients
        loss = (target.xlogy(target) - target * student).sum() / len(student)
        return loss * self.temperature**2 if self.scale else loss
