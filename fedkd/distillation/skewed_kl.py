"""Skewed KL divergence: DistiLLM (Ko et al., 2024, arXiv 2402.03898).

    forward:  L = T^2 / B * sum_b KL( p_t || a p_t + (1 - a) p_s )
    reverse:  L = T^2 / B * sum_b KL( p_s || (1 - a) p_t + a p_s )

Confidence: certain (jongwooko/distillm: a = 0.1, no temperature). a = 0 is plain KL, forward or
reverse; otherwise a sample costs at most ln(1/a), also where one of both is 0. The source's
adaptive generation by the student is for language models, and not here. Traps avoided: the gradient
flows through the mixture too; the source's forward terms are cross-entropies (same gradient, other
value).
"""

from typing import Literal

from torch import Tensor

from .divergences import Divergence, kl, mixture


class SkewedKL(Divergence):
    """KL divergence from a mixture of student and teacher, in nats.

    Parameters
    ----------
    skew : float
        The share a, in [0, 1): the teacher's of the mixture, or the student's in the reverse.
    direction : {"forward", "reverse"}
        From teacher to mixture, or from student to mixture.
    scale : bool
        Multiply by the squared temperature.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> import torch
    >>> from fedkd.distillation import Target
    >>> SkewedKL()(torch.tensor([[0.3, 0.3, 0.4]]).log(), Target(torch.tensor([[0.6, 0.3, 0.1]])))
    tensor(0.2279)
    """

    def __init__(
        self,
        *,
        skew: float = 0.1,
        direction: Literal["forward", "reverse"] = "forward",
        scale: bool = True,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(scale=scale, temperature=temperature)
        if not 0 <= skew < 1:
            raise ValueError(f"skew={skew} must be in [0, 1)")
        self.skew, self.direction = skew, direction

    def each(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return each sample's divergence."""
        if self.direction == "forward":
            return kl(teacher, mixture(student, teacher, self.skew))
        return kl(student, mixture(teacher, student, self.skew))
