"""Mean absolute error: the digest of FedMD (Li and Wang, 2019, arXiv 1910.03581).

    L = 1/(B C) * sum_b sum_c | a - b |

With a teacher of logits, a and b are the raw logits of student and teacher, and the temperature
plays no part. With a teacher of soft labels, which fix logits only up to a constant, they are the
probabilities at temperature T. Confidence: certain (the official code has Keras's
mean_absolute_error on raw logits); the form for soft labels is ours.
"""

import torch
from torch.nn import functional as F

from .base import Batch, Objective, Target


class L1(Objective):
    """Mean absolute error between student and teacher.

    Parameters
    ----------
    temperature : float
        Softmax temperature of student and teacher; unused where the teacher is logits.

    Examples
    --------
    >>> student = torch.tensor([[1.0, 2.0]])
    >>> L1()(student, Target(torch.tensor([[1.0, 1.5]]), "logits"))
    tensor(0.2500)
    """

    per_sample = True
    kinds = None

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__(temperature)

    def __call__(
        self, student_logits: torch.Tensor, teacher: Target, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch."""
        return F.l1_loss(*teacher.paired(student_logits, self.temperature))
