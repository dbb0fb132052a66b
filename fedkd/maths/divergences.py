"""Divergences and distances between all pairs of class distributions."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from ..errors import ConfigError

EPS = 1e-12
"""Floor of probabilities inside logarithms: a class that q denies costs at most ``-log(EPS)``, 27.6
nats per unit of p."""

_PAIRS = 2_000_000  # float64 elements that `divergence` holds at a time


def divergence(p: torch.Tensor, q: torch.Tensor | None = None, kind: str = "kl") -> torch.Tensor:
    """Return ``d[i, j]``, how far distribution ``q[j]`` is from ``p[i]``.

    ========== =============================================== =========
    kind       d(p, q)                                         range
    ========== =============================================== =========
    kl         ``sum p log(p / q)``                            [0, 27.7)
    reverse_kl ``sum q log(q / p)``                            [0, 27.7)
    js         ``(KL(p, m) + KL(q, m)) / 2``, m their mean     [0, log 2]
    l2         Euclidean distance                              [0, sqrt 2]
    cosine     1 - cosine similarity                           [0, 1]
    ========== =============================================== =========

    Computed in float64. Inside logarithms probabilities are floored at `EPS`, so every value is
    finite; what rounding makes negative becomes 0.

    Parameters
    ----------
    p : Tensor
        ``[n, c]`` distributions.
    q : Tensor, optional
        ``[m, c]``; default `p`, and then the diagonal is exactly 0.
    kind : str
        One of the above.

    Returns
    -------
    Tensor
        ``[n, m]``, in nats for the first three, in the dtype of `p`.

    Examples
    --------
    >>> divergence(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([[ 0.0000,  0.6931],
            [13.1224,  0.0000]])
    """
    if kind not in DIVERGENCES:
        raise ConfigError("kind", kind, "not available", DIVERGENCES)
    function = DIVERGENCES[kind]
    left, right = p.double(), (p if q is None else q).double()
    block = max(1, _PAIRS // max(1, right.numel()))
    distances = torch.empty(len(left), len(right), dtype=p.dtype)
    for part, into in zip(left.split(block), distances.split(block), strict=True):
        into.copy_(function(part[:, None], right[None]).clamp_min(0))
    return distances.fill_diagonal_(0) if q is None else distances


def _kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p * (p.clamp_min(EPS).log() - q.clamp_min(EPS).log())).sum(dim=-1)


def _js(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    middle = (p + q) / 2
    return (_kl(p, middle) + _kl(q, middle)) / 2


DIVERGENCES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "kl": _kl,
    "reverse_kl": lambda p, q: _kl(q, p),
    "js": _js,
    "l2": lambda p, q: (p - q).norm(dim=-1),
    "cosine": lambda p, q: 1 - F.cosine_similarity(p, q, dim=-1),
}
