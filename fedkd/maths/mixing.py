"""Pure tensor maths that fusion methods share: mixing, estimated distributions, divergences.

Shapes: n clients, s samples, c classes. Nothing here has state, randomness or side effects.
"""

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from ..errors import ConfigError
from .divergences import EPS, divergence

__all__ = [
    "EPS",
    "ROWS",
    "divergence",
    "effective_neighbours",
    "entropy",
    "epd",
    "mix",
    "sharpen_era",
    "simplex_error",
    "top_k",
]

ROWS = 64
"""Clients looked at together where each is looked at on its own: bounds what is held beside the
input, and is a constant, so that results depend on nothing else."""


def mix(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return ``teacher[i] = sum_j weights[i, j] * values[j]``, one matrix product.

    Parameters
    ----------
    weights : Tensor
        ``[m, n]``, rows sum to 1.
    values : Tensor
        ``[n, s, c]`` knowledge of the n clients.

    Returns
    -------
    Tensor
        ``[m, s, c]`` float32. Rows of soft labels stay on the simplex up to rounding.

    Examples
    --------
    >>> mix(torch.tensor([[0.5, 0.5]]), torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
    tensor([[[0.5000, 0.5000]]])
    """
    mixed = weights.float() @ values.float().flatten(start_dim=1)
    return mixed.reshape(weights.shape[0], *values.shape[1:])


def epd(soft_labels: torch.Tensor, estimator: str = "mean") -> torch.Tensor:
    """Return each client's estimated probability distribution (EPD) over the classes.

    Parameters
    ----------
    soft_labels : Tensor
        ``[n, s, c]``, at least one sample.
    estimator : {"mean", "histogram"}
        Mean soft label, or share of the samples that a class wins.

    Returns
    -------
    Tensor
        ``[n, c]``, rows sum to 1.

    Examples
    --------
    >>> p = torch.tensor([[[0.6, 0.4], [0.8, 0.2]]])
    >>> epd(p), epd(p, "histogram")
    (tensor([[0.7000, 0.3000]]), tensor([[1., 0.]]))
    """
    if estimator not in _ESTIMATORS:
        raise ConfigError("estimator", estimator, "not available", _ESTIMATORS)
    return _ESTIMATORS[estimator](soft_labels)


def effective_neighbours(weights: torch.Tensor) -> torch.Tensor:
    """Return ``1 / sum_m w[i, m]^2``: how many clients each client really learns from.

    Parameters
    ----------
    weights : Tensor
        ``[n, m]``, rows sum to 1.

    Returns
    -------
    Tensor
        ``[n]``, from 1 (one teacher) to m (uniform).

    Examples
    --------
    >>> effective_neighbours(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([1., 2.])
    """
    return torch.cat([1 / part.square().sum(dim=-1) for part in weights.split(ROWS)])


def top_k(weights: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the `k` largest weights of each row (of equal ones the first) and renormalise.

    Parameters
    ----------
    weights : Tensor
        ``[n, m]``, rows sum to 1.
    k : int
        At least 1; more than m keeps all.

    Returns
    -------
    Tensor
        ``[n, m]``, rows sum to 1.

    Examples
    --------
    >>> top_k(torch.tensor([[0.2, 0.4, 0.2, 0.2]]), 2)
    tensor([[0.3333, 0.6667, 0.0000, 0.0000]])
    """
    if k < 1:
        raise ConfigError("k", k, "must be at least 1")
    kept = torch.zeros_like(weights)
    for part, into in zip(weights.split(ROWS), kept.split(ROWS), strict=True):
        order = part.sort(dim=-1, descending=True, stable=True).indices[..., :k]
        into.scatter_(-1, order, part.gather(-1, order))
        into.div_(into.sum(dim=-1, keepdim=True))
    return kept


def sharpen_era(p: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """Entropy reduction of DS-FL: ``softmax(p / T)`` of the *mean probabilities*, not of logits.

    Parameters
    ----------
    p : Tensor
        ``[..., c]`` soft labels, averaged over the clients.
    temperature : float
        T, greater than 0. DS-FL has 0.1, which sharpens; 1 flattens.

    Examples
    --------
    >>> sharpen_era(torch.tensor([0.6, 0.4]))
    tensor([0.8808, 0.1192])
    """
    if not 0 < temperature < math.inf:
        raise ConfigError("temperature", temperature, "must be greater than 0 and finite")
    return (p / temperature).softmax(dim=-1)


def entropy(p: torch.Tensor) -> torch.Tensor:
    """Return ``-sum p log p`` over the last dimension, in nats; 0 log 0 is 0.

    Examples
    --------
    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    tensor([0.6931, 0.0000])
    """
    return torch.special.entr(p).sum(dim=-1)


def simplex_error(p: torch.Tensor) -> float:
    """Return how far the worst row of `p` is from being a probability distribution.

    Returns
    -------
    float
        Largest of ``|sum - 1|`` over rows and of ``-p`` over elements; infinite if `p` is not
        finite, 0 if it is empty.

    Examples
    --------
    >>> simplex_error(torch.tensor([[1.25, -0.25], [0.5, 0.25]]))
    0.25
    """
    if p.numel() == 0:
        return 0.0
    p = p.double()
    if not bool(p.isfinite().all()):
        return math.inf
    return max(float((p.sum(dim=-1) - 1).abs().max()), float(-p.min()), 0.0)


_ESTIMATORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda p: p.mean(dim=1),
    "histogram": lambda p: torch.cat(
        [
            F.one_hot(part.argmax(dim=-1), p.shape[-1]).to(p.dtype).mean(dim=1)
            for part in p.split(ROWS)
        ]
    ),
}
