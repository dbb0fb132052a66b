"""What objectives share that compare two distributions sample by sample, in logarithms."""

import math
from typing import Any

import torch
from torch import Tensor

from .base import Batch, Objective, Target

EPS = 1e-8
"""Probability below which none goes where its logarithm or a negative power would be too large."""


class Divergence(Objective):
    """Base of divergences between the softened predictions of teacher and student, in nats.

    Parameters
    ----------
    scale : bool
        Multiply by the squared temperature.
    temperature : float
        Softmax temperature of student and teacher.
    """

    per_sample = True

    def __init__(self, *, scale: bool = True, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        self.scale = scale

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch."""
        student = (student_logits / self.temperature).log_softmax(dim=-1)
        loss = self.each(teacher.log_probabilities(self.temperature), student).mean()
        return loss * self.temperature**2 if self.scale else loss

    def each(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return each sample's divergence ``[B]``, given log-probabilities ``[B, C]``."""
        raise NotImplementedError(f"{type(self).__name__} must define each")


def within(given: dict[str, Any], low: float, high: float) -> None:
    """Refuse a parameter outside ``[low, high]``.

    Raises
    ------
    ValueError
        Which names it.
    """
    for name, value in given.items():
        if not low <= value <= high:
            raise ValueError(f"{name}={value} must be in [{low:g}, {high:g}]")


def any_of(**weights: float) -> None:
    """Refuse weights that are all 0.

    Raises
    ------
    ValueError
        Which names the last.
    """
    if not any(weights.values()):
        *others, last = weights
        told = f" where {' and '.join(others)} are 0, too" if others else ""
        raise ValueError(f"{last}=0 must be above 0{told}: nothing would be learnt")


def floored(log_p: Tensor, eps: float = EPS) -> Tensor:
    """Return log-probabilities, none below that of `eps`."""
    return log_p.clamp_min(math.log(eps))


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p || q) of each row, ``[B]``.

    Examples
    --------
    >>> kl(torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([[0.3, 0.3, 0.4]]).log())
    tensor([0.2773])
    """
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def entropy(log_p: Tensor) -> Tensor:
    """Return the entropy of each row, ``[B]``, in nats."""
    return -(log_p.exp() * log_p).sum(dim=-1)


def mixture(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """Return ``log((1 - share) p + share q)``; `share` in [0, 1].

    Examples
    --------
    >>> mixture(torch.tensor([0.6, 0.4]).log(), torch.tensor([0.2, 0.8]).log(), 0.25).exp()
    tensor([0.5000, 0.5000])
    """
    if share in (0, 1):
        return log_q if share else log_p
    return torch.logaddexp(log_p + math.log1p(-share), log_q + math.log(share))


def alpha_beta(log_p: Tensor, log_q: Tensor, a: float, b: float) -> Tensor:
    """Return the alpha-beta divergence of each row, ``[B]``; see `fedkd.distillation.alpha_beta`.

    What has a logarithm or a negative power is floored at `EPS`, and nothing else.

    Examples
    --------
    >>> p, q = torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([[0.3, 0.3, 0.4]]).log()
    >>> alpha_beta(p, q, 1.0, 1.0), alpha_beta(p, q, 1.0, 0.0)
    (tensor([0.0900]), tensor([0.2773]))
    """
    log_p = floored(log_p) if a <= 0 or a + b < 0 else log_p
    log_q = floored(log_q) if b < 0 or a + b < 0 or a == 0 else log_q  # 0 where both are alike
    gap = log_p - log_q
    if a == b == 0:
        return gap.square().sum(dim=-1) / 2
    if a + b == 0:
        return (torch.expm1(a * gap) - a * gap).sum(dim=-1) / a**2
    if b == 0:
        return (torch.exp(a * log_p) * (a * gap - 1) + torch.exp(a * log_q)).sum(dim=-1) / a**2
    if a == 0:
        return alpha_beta(log_q, log_p, b, 0.0)
    both = torch.exp(a * log_p + b * log_q)
    own = a * torch.exp((a + b) * log_p) + b * torch.exp((a + b) * log_q)
    return (own / (a + b) - both).sum(dim=-1) / (a * b)
