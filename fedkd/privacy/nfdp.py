"""Differential privacy without noise: each client trains on a random subset of its records.

Sun, Lyu, "Federated Model Distillation with Noise-Free Differential Privacy", IJCAI 2021, arXiv
2009.05537. Confidence: certain (abstract and public code). One of n records is replaced; k are
drawn, once for the whole run, and all that follows is computed from them::

    with replacement      epsilon = k ln((n + 1) / n)            delta = 1 - ((n - 1) / n)^k
    without               epsilon = ln((n + 1) / (n + 1 - k))    delta = k / n

**Trap**: delta is about ``k / n``, the chance that a record is drawn at all, and each record that
is drawn has no protection whatsoever. That is a weak guarantee: delta is commonly asked to be far
below ``1 / n``.
"""

import math


def guaranteed(samples: int, kept: int, replacement: bool = False) -> tuple[float, float]:
    """Return (epsilon, delta) of training on `kept` of `samples` records.

    Examples
    --------
    >>> epsilon, delta = guaranteed(99, 50)
    >>> round(epsilon, 4), round(delta, 4)
    (0.6931, 0.5051)
    """
    n, k = samples, kept
    if replacement:
        return k * math.log((n + 1) / n), 1 - ((n - 1) / n) ** k
    return math.log((n + 1) / (n + 1 - k)), k / n


def affordable(samples: int, epsilon: float, replacement: bool = False) -> int:
    """Return the most records that an epsilon allows; 0 if not even one, all if it is large.

    Examples
    --------
    >>> affordable(99, 0.7), affordable(99, 0.001), affordable(99, 10.0)
    (50, 0, 99)
    """
    n = samples
    if replacement:
        found = math.floor(epsilon / math.log((n + 1) / n))
    else:
        found = math.floor((n + 1) * -math.expm1(-epsilon))
    return min(n, found)
