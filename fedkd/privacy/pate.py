"""PATE: the winner of a noisy vote, and what one answer costs.

Papernot, Song, Mironov, Raghunathan, Talwar, Erlingsson, "Scalable Private Learning with PATE",
ICLR 2018, arXiv 1802.08908. Confidence: certain (the paper's Algorithm 1, Propositions 7 and 8,
Theorem 6). With n_c votes for class c of one sample::

    answer only if  max_c n_c + N(0, check^2) >= threshold          cost: alpha / (2 check^2)
    answer          argmax_c ( n_c + N(0, sigma^2) )                cost: alpha / sigma^2

in Renyi divergence of order alpha. One voter that changes all of its data changes one vote of each
sample: two counts by one, the largest by at most one. Theorem 6, the data-dependent bound: let the
answer differ from the true winner with probability at most q, and the mechanism have the costs e1,
e2 at orders m1, m2 (here ``m2 = sigma sqrt(ln 1/q)``, ``m1 = m2 + 1``, ``e = m / sigma^2``). If
``alpha <= m1`` and ``q <= exp((m2 - 1) e2) / ( m1/(m1-1) * m2/(m2-1) )^m2``, the cost is at most ::

    ln( (1-q) A^(alpha-1) + q B^(alpha-1) ) / (alpha - 1)
    A = (1 - q) / (1 - (q e^e2)^((m2-1)/m2)),    B = e^e1 / q^(1/(m1-1))

It depends on the votes, so the number itself is private: look at it, do not publish it.
"""

import math

import numpy as np
from scipy.special import log_ndtr
from torch import Tensor

from .noise import Source, normal

LEAST = float(np.finfo(np.float64).tiny)
"""What an answer costs at least: no vote is so clear that an answer is free."""


def confident_gnmax(
    counts: Tensor, threshold: float, check: float, sigma: float, source: Source
) -> tuple[Tensor, Tensor]:
    """Return each sample's noisy winner, and whether it is answered at all.

    Parameters
    ----------
    counts : Tensor
        ``[samples, classes]`` votes.
    threshold : float
        Votes that the noisy largest count needs.
    check, sigma : float
        Standard deviations of the noise of the two steps.
    source : Generator or None
        See `fedkd.privacy.noise`.

    Returns
    -------
    winners : Tensor
        ``[samples]`` int64.
    answered : Tensor
        ``[samples]`` bool.

    Examples
    --------
    >>> import torch
    >>> votes = torch.tensor([[9, 1], [5, 5]])
    >>> confident_gnmax(votes, 7.0, 0.01, 0.01, torch.Generator().manual_seed(0))[1]
    tensor([ True, False])
    """
    counts = counts.double()
    samples, classes = counts.shape
    answered = counts.max(dim=-1).values + check * normal((samples,), source) >= threshold
    noisy = counts + sigma * normal((samples, classes), source)
    return noisy.argmax(dim=-1), answered


def log_miss(counts: np.ndarray, sigma: float) -> float:
    """Return ``ln q``: how likely the noisy winner is not the true one, at most (Proposition 7).

    ``q = sum over c != winner of erfc((n_winner - n_c) / (2 sigma)) / 2``.

    Examples
    --------
    >>> round(math.exp(log_miss(np.array([5, 5]), 1.0)), 3)
    0.5
    >>> round(log_miss(np.array([60, 0]), 1.0), 2)  # q itself is no float64
    -904.67
    """
    ordered = np.sort(np.asarray(counts, np.float64))[::-1]
    each = log_ndtr((ordered[1:] - ordered[0]) / (2**0.5 * sigma))  # ln(erfc(x) / 2)
    return min(math.log1p(-1 / len(ordered)), float(np.logaddexp.reduce(each)))


def answer_cost(logq: float, sigma: float, orders: np.ndarray) -> np.ndarray:
    """Return what one answer costs at each order, by Theorem 6 where it applies.

    Parameters
    ----------
    logq : float
        See `log_miss`.
    sigma : float
        Standard deviation of the answer's noise.
    orders : array
        Renyi orders above 1.

    Returns
    -------
    array
        Above 0; the clearer the vote, the less, down to the smallest number of full precision.

    Examples
    --------
    >>> answer_cost(-0.7, 10.0, np.array([2.0, 8.0])).tolist()
    [0.02, 0.08]
    >>> bool(answer_cost(-50.0, 10.0, np.array([2.0]))[0] < 1e-6)
    True
    """
    plain = orders / sigma**2
    if logq == -math.inf:
        return np.full_like(plain, LEAST)
    m2 = sigma * math.sqrt(-logq)
    if m2 <= 1:
        return plain
    m1, e1, e2 = m2 + 1, (m2 + 1) / sigma**2, m2 / sigma**2
    limit = (m2 - 1) * e2 - m2 * (math.log(m1 / (m1 - 1)) + math.log(m2 / (m2 - 1)))
    if logq > limit or logq + e2 >= 0:  # the second: A must be positive
        return plain
    log1q = math.log1p(-math.exp(logq))
    log_a = log1q - math.log1p(-math.exp((logq + e2) * (m2 - 1) / m2))
    log_b = e1 - logq / (m1 - 1)
    steps = orders - 1
    with np.errstate(over="ignore"):  # of orders above m1, which the theorem is not about
        terms = np.expm1(log1q + steps * log_a) + np.exp(logq + steps * log_b)
    bound = np.log1p(terms) / steps  # of terms far below 1, which 1 + terms would round away
    return np.where(orders <= m1, np.clip(bound, LEAST, plain), plain)


def votes_cost(
    counts: np.ndarray, answered: np.ndarray, check: float, sigma: float, orders: np.ndarray
) -> np.ndarray:
    """Return what a round of votes ``[samples, classes]`` cost at each order, data-dependently.

    The threshold's cost is counted for all samples and as if it did not depend on the data.
    """
    total = len(counts) * orders / (2 * check**2)
    kinds, times = np.unique(np.sort(counts[answered], axis=1), axis=0, return_counts=True)
    for row, n in zip(kinds, times, strict=True):
        total = total + n * answer_cost(log_miss(row, sigma), sigma, orders)
    return total
