"""BD-KD: balanced divergence (Amara et al., 2022, arXiv 2212.12965).

    L = T^2 / B * sum_b [ w_f KL( p_t || p_s ) + w_r KL( p_s || p_t ) ]
    w_f = g if H(p_t) > H(p_s) else 1,    w_r = g if H(p_s) > H(p_t) else 1         H: entropy

A student less sure than its teacher is pulled to the teacher's modes (reverse KL), a surer one is
made to cover what the teacher holds possible (forward KL).

Confidence: secondary, from two public re-implementations; their g is 3 and 2, the paper's is
unconfirmed. In the source the teacher learns too; here it is what the server sent. Traps avoided:
the weights are constants, no gradient goes through the comparison; the forward part is a KL (the
re-implementations have the cross-entropy, with another value); the reverse part's teacher is
floored at ``eps``.
"""

import torch
from torch import Tensor

from .divergences import EPS, Divergence, entropy, floored, kl, within


class BDKD(Divergence):
    """Forward and reverse KL, weighed for each sample by who is surer, in nats.

    Parameters
    ----------
    gamma : float
        Weight g of the direction that is called for, in [0, 1000]; the other's is 1.
    eps : float
        Floor of the teacher's probabilities in the reverse part, in (0, 1).
    scale : bool
        Multiply by the squared temperature.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> from fedkd.distillation import Target
    >>> BDKD()(torch.tensor([[0.3, 0.3, 0.4]]).log(), Target(torch.tensor([[0.6, 0.3, 0.1]])))
    tensor(0.9704)
    """

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        eps: float = EPS,
        scale: bool = True,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(scale=scale, temperature=temperature)
        within({"gamma": gamma}, 0, 1000)
        if not 0 < eps < 1:
            raise ValueError(f"eps={eps} must be in (0, 1)")
        self.gamma, self.eps = gamma, eps

    def each(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return each sample's divergence."""
        surer = entropy(teacher) - entropy(student.detach())
        forward = torch.where(surer > 0, self.gamma, 1.0)
        reverse = torch.where(surer < 0, self.gamma, 1.0)
        back = kl(student, floored(teacher, self.eps))
        return forward * kl(teacher, student) + reverse * back
