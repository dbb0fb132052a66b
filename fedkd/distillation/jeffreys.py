"""Jeffreys divergence: forward and reverse KL, added up.

    L = T^2 / B * sum_b [ KL( p_t || p_s ) + KL( p_s || p_t ) ]

Confidence: certain (textbook). Trap avoided: the reverse part is infinite where the teacher gives a
class probability 0, so there its probabilities are floored at ``eps``, as `reverse_kl` does.
"""

from torch import Tensor

from .divergences import EPS, Divergence, floored, kl


class Jeffreys(Divergence):
    """Sum of both KL divergences between student and teacher, in nats.

    Parameters
    ----------
    eps : float
        Floor of the teacher's probabilities in the reverse part, in (0, 1).
    scale : bool
        Multiply by the squared temperature.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> import torch
    >>> from fedkd.distillation import Target
    >>> Jeffreys()(torch.tensor([[0.3, 0.3, 0.4]]).log(), Target(torch.tensor([[0.6, 0.3, 0.1]])))
    tensor(0.6238)
    """

    def __init__(self, *, eps: float = EPS, scale: bool = True, temperature: float = 1.0) -> None:
        super().__init__(scale=scale, temperature=temperature)
        if not 0 < eps < 1:
            raise ValueError(f"eps={eps} must be in (0, 1)")
        self.eps = eps

    def each(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return each sample's divergence."""
        return kl(teacher, student) + kl(student, floored(teacher, self.eps))
