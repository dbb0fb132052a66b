"""ABKD: distillation by alpha-beta divergences (Wang et al., 2025, arXiv 2505.04560).

With the teacher p and the student q, for a, b and a + b other than 0::

    L = T^2 / B * sum_b D_b
    D = -1/(a b) * sum_c [ p^a q^b - a/(a+b) p^(a+b) - b/(a+b) q^(a+b) ]

and by continuity elsewhere: (1, 0) is KL, (0, 1) reverse KL, (0.5, 0.5) 4 (1 - sum sqrt(p q)),
(1, 1) half the squared distance, (0, 0) half the squared distance of logarithms. a above b looks at
where the teacher is sure, b above a at where the student is.

Confidence: certain (ghwang-s/abkd; (0.8, 0.3) for images, (0.2, 0.7) for language). T^2 is ours:
the source leaves it out, as ``scale=false`` does. Traps avoided: the source's limits at a = 0,
b = 0 and a + b = 0 carry 1/a where it is 1/a^2; probabilities under a logarithm or a negative power
are floored at 1e-8 (a student's that is below then has no gradient); a value near 0, but not 0,
cancels in float32 and is refused.
"""

from torch import Tensor

from .divergences import Divergence, within
from .divergences import alpha_beta as divergence

SMALLEST = 0.01
"""The smallest magnitude of a power, other than 0."""


class AlphaBeta(Divergence):
    """Alpha-beta divergence of the student from the teacher.

    Parameters
    ----------
    alpha : float
        The teacher's power, in [-2, 2]; it and ``alpha + beta`` are 0, or at least 0.01 away.
    beta : float
        The student's power, the same.
    scale : bool
        Multiply by the squared temperature.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> import torch
    >>> from fedkd.distillation import Target
    >>> AlphaBeta()(torch.tensor([[0.3, 0.3, 0.4]]).log(), Target(torch.tensor([[0.6, 0.3, 0.1]])))
    tensor(0.2542)
    """

    def __init__(
        self,
        *,
        alpha: float = 0.8,
        beta: float = 0.3,
        scale: bool = True,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(scale=scale, temperature=temperature)
        check_powers(alpha=alpha, beta=beta)
        self.alpha, self.beta = settled(alpha, beta)

    def each(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return each sample's divergence."""
        return divergence(teacher, student, self.alpha, self.beta)


def check_powers(**powers: float) -> None:
    """Refuse powers that float32 cannot take, by their names.

    Raises
    ------
    ValueError
        Which names the first.
    """
    within(powers, -2, 2)
    tiny = f"must be 0 or at least {SMALLEST} away from it: float32 would cancel"
    for name, value in powers.items():
        if 0 < abs(value) < SMALLEST:
            raise ValueError(f"{name}={value} {tiny}")
    (first, a), (name, b) = powers.items()
    if ROUNDING < abs(a + b) < SMALLEST:
        raise ValueError(f"{name}={b} plus {first}={a} {tiny}")


ROUNDING = 1e-9
"""A sum of powers this near to 0 is 0."""


def settled(a: float, b: float) -> tuple[float, float]:
    """Return powers whose sum is exactly 0 where it is but for rounding."""
    return (a, -a) if abs(a + b) <= ROUNDING else (a, b)
