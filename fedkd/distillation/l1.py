"""Mean absolute error: the digest of FedMD (Li and Wang, 2019, arXiv 1910.03581).

    L = 1/(B C) * sum_b sum_c | a - b |

With a teacher of logits, a and b are the raw logits of student and teacher, and the temperature
plays no part. With a teacher of soft labels, which fix logits only up to a constant, they are the
probabilities at temperature T.

Confidence: certain (the official code has Keras's mean_absolute_error on raw logits); the form for
soft labels is ours.
"""

from torch import Tensor
from torch.nn import functional as F

from .base import Matching


class L1(Matching):
    """Mean absolute error between student and teacher.

    Parameters
    ----------
    temperature : float
        Softmax temperature of student and teacher; unused where the teacher is logits.

    Examples
    --------
    >>> import torch
    >>> from fedkd.distillation import Target
    >>> student = torch.tensor([[1.0, 2.0]])
    >>> L1()(student, Target(torch.tensor([[1.0, 1.5]]), "logits"))
    tensor(0.2500)
    """

    def compared(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean absolute difference."""
        return F.l1_loss(student, teacher)
