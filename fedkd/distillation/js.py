"""Jensen-Shannon divergence: bounded, so that no teacher is too sure for it.

    m = (1 - l) p_t + l p_s
    L = T^2 / B * sum_b [ l KL( p_s || m ) + (1 - l) KL( p_t || m ) ]

Confidence: certain (textbook). For l = 0.5 it is at most ln 2, with any teacher; divided by l it
becomes the reverse KL as l goes to 0, divided by 1 - l the forward KL as l goes to 1. Traps
avoided: the gradient flows through m too; DistiLLM's code has l = 0.9, its forks 0.1.
"""

from torch import Tensor

from .divergences import Divergence, kl, mixture, within


class JS(Divergence):
    """Jensen-Shannon divergence of student and teacher, in nats.

    Parameters
    ----------
    share : float
        The student's share l of the mixture, in [0.001, 0.999].
    scale : bool
        Multiply by the squared temperature.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> import torch
    >>> from fedkd.distillation import Target
    >>> JS()(torch.tensor([[0.3, 0.3, 0.4]]).log(), Target(torch.tensor([[0.6, 0.3, 0.1]])))
    tensor(0.0737)
    """

    def __init__(self, *, share: float = 0.5, scale: bool = True, temperature: float = 1.0) -> None:
        super().__init__(scale=scale, temperature=temperature)
        within({"share": share}, 0.001, 0.999)
        self.share = share

    def each(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return each sample's divergence."""
        middle = mixture(teacher, student, self.share)
        return self.share * kl(student, middle) + (1 - self.share) * kl(teacher, middle)
