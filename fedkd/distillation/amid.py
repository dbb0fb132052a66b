"""AMiD: distillation with an alpha-mixture of teacher and student (2025, arXiv 2510.15982).

    g = (1 - alpha) / 2
    r ~ [ l p^g + (1 - l) q^g ]^(1/g), normalised;    alpha -> 1: p^l q^(1-l)
    L = T^2 / B * sum_b D( p_b, r_b )                 D: the divergence of `alpha_beta`

with the teacher p and the student q.

alpha = -1 is the arithmetic mixture of `skewed_kl`, alpha = 1 the geometric path of `taid`, l = 0
plain `alpha_beta`.

Confidence: certain (aailab-kaist/AMiD: alpha 0.5, l 0.5, D of (0.2, 0.7), order p, r); T^2 is ours.
Traps avoided: r is not detached, as `taid`'s target is; an alpha above 1, which the source takes as
1, is refused, and so is an l for which nothing could be learnt.
"""

from typing import Literal

from torch import Tensor

from .alpha_beta import check_powers, settled
from .base import idle
from .divergences import Divergence, mixture
from .divergences import alpha_beta as divergence


class AMiD(Divergence):
    """Alpha-beta divergence between a mixture of student and teacher, and one of them.

    Parameters
    ----------
    alpha : float
        Of the mixture, at least -20 and at most 0.99, or 1.
    share : float
        The teacher's share l of the mixture, in [0, 1]; not 1 with an order of p and r, not 0 with
        one of q and r.
    order : {"pr", "rp", "qr", "rq"}
        What is compared: teacher p, student q, mixture r.
    power_alpha, power_beta : float
        The divergence's powers, see `alpha_beta`; 1 and 0 = KL.
    scale : bool
        Multiply by the squared temperature.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> import torch
    >>> from fedkd.distillation import Target
    >>> AMiD()(torch.tensor([[0.3, 0.3, 0.4]]).log(), Target(torch.tensor([[0.6, 0.3, 0.1]])))
    tensor(0.0856)
    """

    def __init__(
        self,
        *,
        alpha: float = 0.5,
        share: float = 0.5,
        order: Literal["pr", "rp", "qr", "rq"] = "pr",
        power_alpha: float = 0.2,
        power_beta: float = 0.7,
        scale: bool = True,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(scale=scale, temperature=temperature)
        if not (-20 <= alpha <= 0.99 or alpha == 1):
            raise ValueError(f"alpha={alpha} must be in [-20, 0.99], or 1")
        idle = 1 if "p" in order else 0
        if not 0 <= share <= 1 or share == idle:
            raise ValueError(f"share={share} must be in [0, 1] and, with order={order}, not {idle}")
        check_powers(power_alpha=power_alpha, power_beta=power_beta)
        self.alpha, self.share, self.order = alpha, share, order
        self.powers = settled(power_alpha, power_beta)

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the mixture's alpha, where it is of one of both alone."""
        share = f"share={self.share:g}"
        return idle(share, "alpha") if self.share in (0, 1) else {}

    def each(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return each sample's divergence."""
        pair = {"p": teacher, "q": student, "r": self.mixed(teacher, student)}
        return divergence(pair[self.order[0]], pair[self.order[1]], *self.powers)

    def mixed(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the mixture's log-probabilities ``[B, C]``."""
        g = (1 - self.alpha) / 2
        if g == 0:
            return (self.share * teacher + (1 - self.share) * student).log_softmax(dim=-1)
        return (mixture(g * student, g * teacher, self.share) / g).log_softmax(dim=-1)
