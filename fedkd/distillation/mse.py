"""Mean squared error: logit matching (Ba and Caruana, 2014, arXiv 1312.6184).

    L = 1/(B C) * sum_b sum_c ( a - b )^2

With a teacher of logits, a and b are the raw logits of student and teacher, and the temperature
plays no part. With a teacher of soft labels, which fix logits only up to a constant, they are the
probabilities at temperature T.

Confidence: certain (textbook; FL-bench's FedMD digests with it).
"""

from torch import Tensor
from torch.nn import functional as F

from .base import Matching


class MSE(Matching):
    """Mean squared error between student and teacher.

    Parameters
    ----------
    temperature : float
        Softmax temperature of student and teacher; unused where the teacher is logits.

    Examples
    --------
    >>> import torch
    >>> from fedkd.distillation import Target
    >>> student = torch.tensor([[1.0, 2.0]])
    >>> MSE()(student, Target(torch.tensor([[1.0, 1.5]]), "logits"))
    tensor(0.1250)
    """

    def compared(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean squared difference."""
        return F.mse_loss(student, teacher)
