"""How well scores tell members from non-members.

Everywhere a higher score says "member". Numbers are float64 numpy arrays.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, norm, rankdata

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with a confidence interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return ``{"value": ..., "low": ..., "high": ...}``."""
        return asdict(self)


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return a binomial share with its exact confidence interval (Clopper and Pearson, 1934).

    Parameters
    ----------
    hits, trials : int
        ``0 <= hits <= trials``, at least one trial.
    confidence : float
        In (0, 1); the interval covers the truth at least that often.

    Examples
    --------
    >>> found = clopper_pearson(0, 10)
    >>> found.value, found.low, round(found.high, 4)
    (0.0, 0.0, 0.3085)
    """
    if not 0 <= hits <= trials or trials < 1:
        raise ValueError(f"{hits} hits in {trials} trials")
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, hits, trials - hits + 1) if hits else 0.0
    high = beta.ppf(1 - tail, hits + 1, trials - hits) if hits < trials else 1.0
    return Interval(hits / trials, float(low), float(high))


def roc(members: ArrayLike, others: ArrayLike) -> tuple[Array, Array]:
    """Return false and true positive rates of all thresholds, both ascending from 0 to 1.

    Examples
    --------
    >>> roc([2.0, 1.0], [0.0, 1.0])
    (array([0. , 0. , 0.5, 1. ]), array([0. , 0.5, 1. , 1. ]))
    """
    from sklearn.metrics import roc_curve

    x, y = _pair(members, others)
    truth = np.r_[np.ones(len(x)), np.zeros(len(y))]
    false, true, _ = roc_curve(truth, np.r_[x, y], drop_intermediate=False)
    return false, true


def auc(members: ArrayLike, others: ArrayLike, confidence: float = 0.95) -> Interval:
    r"""Return the chance that a member scores above a non-member (ties count half).

    .. math:: A = \frac{1}{mn} \sum_{i,j} [x_i > y_j] + \frac12 [x_i = y_j], \quad
        Var\,A \approx \frac{S^2_{10}}{m} + \frac{S^2_{01}}{n}

    The variance is DeLong's (1988), with :math:`S^2_{10}` that of a member's share of non-members
    below it; the interval is normal on the logit scale, so it stays in [0, 1]. Where scores
    separate perfectly (A is 0 or 1) that variance is 0: the interval is then the exact binomial one
    of ``min(m, n)`` trials.

    Parameters
    ----------
    members, others : array
        ``[m]`` and ``[n]`` scores, both not empty.

    Examples
    --------
    >>> auc([1.0, 1.0, 1.0], [1.0, 1.0]).value
    0.5
    >>> auc([2.0, 3.0], [0.0, 1.0]).value
    1.0
    """
    x, y = _pair(members, others)
    m, n = len(x), len(y)
    ranks = rankdata(np.r_[x, y])
    below = (ranks[:m] - rankdata(x)) / n  # of each member: the share of non-members below it
    above = 1 - (ranks[m:] - rankdata(y)) / m
    value = float(below.mean())
    if value in (0.0, 1.0):
        exact = clopper_pearson(round(value * min(m, n)), min(m, n), confidence)
        return Interval(value, exact.low, exact.high)
    spread = sum(float(v.var(ddof=1)) / len(v) if len(v) > 1 else 0.25 for v in (below, above))
    reach = norm.ppf((1 + confidence) / 2) * np.sqrt(spread) / (value * (1 - value))
    logit = np.log(value / (1 - value))
    low, high = 1 / (1 + np.exp(-(logit + np.array([-reach, reach]))))
    return Interval(value, float(low), float(high))


def tpr_at_fpr(
    members: ArrayLike, others: ArrayLike, fpr: float, confidence: float = 0.95
) -> Interval:
    """Return the share of members found while at most a share `fpr` of non-members is accused.

    The threshold is the ``floor(fpr * n) + 1``-th largest score of the ``n`` non-members and only
    scores above it accuse, so ties never raise the false positive rate. Below ``n = 1 / fpr`` that
    is the largest non-member: see `resolves`. The interval is Clopper and Pearson's for that
    threshold; the uncertainty of the threshold itself is not in it.

    Parameters
    ----------
    members, others : array
        ``[m]`` and ``[n]`` scores, both not empty.
    fpr : float
        In [0, 1).

    Examples
    --------
    >>> tpr_at_fpr([5.0, 4.0, 0.5, 0.0], [1.0, 2.0], fpr=0.01).value
    0.5
    """
    x, y = _pair(members, others)
    allowed = int(np.floor(fpr * len(y) + 1e-9))
    threshold = np.sort(y)[::-1][allowed]
    return clopper_pearson(int((x > threshold).sum()), len(x), confidence)


def resolves(others: int, fpr: float) -> bool:
    """Say whether so many non-members can tell a false positive rate of `fpr` from 0.

    Examples
    --------
    >>> resolves(999, 0.001), resolves(1000, 0.001)
    (False, True)
    """
    return others * fpr >= 1 - 1e-9


def _pair(members: ArrayLike, others: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(members, np.float64), np.asarray(others, np.float64)
    if not (x.size and y.size) or np.isnan(x).any() or np.isnan(y).any():
        raise ValueError("scores must be numbers, of at least one member and one non-member")
    return x.ravel(), y.ravel()
