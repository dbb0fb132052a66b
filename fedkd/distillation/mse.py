"""Mean squared error: logit matching (Ba and Caruana, 2014, arXiv 1312.6184).

    L = 1/(B C) * sum_b sum_c ( a - b )^2

With a teacher of logits, a and b are the raw logits of student and teacher, and the temperature
plays no part. With a teacher of soft labels, which fix logits only up to a constant, they are the
probabilities at temperature T. Confidence: certain (textbook; FL-bench's FedMD digests with it).
"""

import torch
from torch.nn import functional as F

from .base import Batch, Objective, Target


class MSE(Objective):
    """Mean squared error between student and teacher.

    Parameters
    ----------
    temperature : float
        Softmax temperature of student and teacher; unused where the teacher is logits.

    Examples
    --------
    >>> student = torch.tensor([[1.0, 2.0]])
    >>> MSE()(student, Target(torch.tensor([[1.0, 1.5]]), "logits"))
    tensor(0.1250)
    """

    per_sample = True
    kinds = None

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__(temperature)

    def __call__(
        self, student_logits: torch.Tensor, teacher: Target, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch."""
        return F.mse_loss(*teacher.paired(student_logits, self.temperature))
