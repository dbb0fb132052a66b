"""What libraries know of differences between runs: intervals, paired tests, ranks.

All values here are of several seeds, or of several settings; none is scaled for showing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .statistics import estimate

LEVEL = 0.95
"""Of intervals; one minus it is the level of the tests."""

ROUNDING = 1e-12
"""Of values, what is no difference between them."""

RESAMPLES = 9_999
"""Sign flips of a permutation test: all of them up to 13 pairs, this many drawn ones beyond."""


@dataclass(frozen=True)
class Difference:
    """Paired differences to a baseline.

    Attributes
    ----------
    pairs : int
        How many seeds both have.
    difference, difference_low, difference_high : float
        Mean of ``value - baseline`` and Student's 95 % interval of it.
    effect : float
        Cohen's ``d_z``: the mean difference by the differences' sample standard deviation.
    p : float
        Two-sided, not corrected. NaN, as `effect`, where differences have no spread (a t test
        has no answer then), and all but `pairs` and `difference` where there is one pair.
    """

    pairs: int = 0
    difference: float = math.nan
    difference_low: float = math.nan
    difference_high: float = math.nan
    effect: float = math.nan
    p: float = math.nan


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Return Student's 95 % interval of a mean; NaN for fewer than two values.

    Examples
    --------
    >>> [round(end, 4) for end in interval([1.0, 2.0, 3.0])]
    [-0.4841, 4.4841]
    """
    found = estimate(values)
    if found.n < 2:
        return math.nan, math.nan
    half = found.se * float(stats.t.ppf((1 + LEVEL) / 2, found.n - 1))
    return found.mean - half, found.mean + half


def t_test(differences: np.ndarray) -> float:
    """Return the p-value of a paired t test (`scipy.stats.ttest_1samp` of the differences).

    Examples
    --------
    >>> round(t_test(np.array([1.0, 2.0, 3.0])), 4), t_test(np.array([1.0, 1.0]))
    (0.0742, nan)
    """
    if not np.ptp(differences):
        return math.nan
    return float(stats.ttest_1samp(differences, 0).pvalue)


def permutation(differences: np.ndarray) -> float:
    """Return the p-value of a paired permutation test: the signs of differences are flipped.

    Examples
    --------
    >>> permutation(np.array([1.0, 2.0, 3.0, 4.0])), permutation(np.zeros(4))
    (0.125, 1.0)
    """
    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=RESAMPLES,
        random_state=np.random.default_rng(0),
    )
    return float(found.pvalue)


TESTS = {"t": t_test, "permutation": permutation}
"""Paired tests by the name that ``--test`` takes."""


def paired(values: Sequence[float], baseline: Sequence[float], test: str = "t") -> Difference:
    """Return how `values` differ from those of the baseline, ``[pairs]`` each, in the same order.

    Examples
    --------
    >>> found = paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    >>> found.pairs, found.difference, found.effect, round(found.p, 4)
    (3, 2.0, 2.0, 0.0742)
    """
    both = np.array([values, baseline], np.float64)
    differences, rounding = both[0] - both[1], ROUNDING * np.abs(both).max(initial=0)
    differences[np.abs(differences) <= rounding] = 0
    if both.size and np.ptp(differences) <= rounding:
        differences[:] = differences[0]
    found = estimate(differences)
    if found.n < 2:
        return Difference(found.n, found.mean)
    effect = found.mean / found.std if np.ptp(differences) else math.nan
    return Difference(found.n, found.mean, *interval(differences), effect, TESTS[test](differences))


def holm(p: pd.Series) -> pd.Series:
    """Return p-values with Holm's correction for as many tests as there are; NaN is no test.

    The i-th smallest of m is multiplied by ``m - i + 1``, at least its predecessor and at most 1
    (Holm, 1979). scipy has Benjamini and Hochberg's only.

    Examples
    --------
    >>> holm(pd.Series([0.01, 0.04, 0.03, math.nan])).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    ranked = p.dropna().sort_values()
    return (ranked * range(len(ranked), 0, -1)).cummax().clip(upper=1).reindex(p.index)


@dataclass(frozen=True)
class Ranks:
    """How methods rank over settings (Demšar, 2006).

    Attributes
    ----------
    average : pandas.Series
        Each method's mean rank, 1 is best, the best first; ties share the mean of their ranks.
    settings : int
        How many there are.
    p : float
        Friedman's test that all are alike; NaN for fewer than three methods, or all tied.
    critical : float
        Nemenyi's critical difference at 5 %: average ranks nearer than that are not told apart.
    """

    average: pd.Series
    settings: int
    p: float
    critical: float

    @classmethod
    def of(cls, means: pd.DataFrame, more: bool) -> "Ranks":
        """Return the ranks of a table ``[settings, methods]`` without gaps.

        Examples
        --------
        >>> table = pd.DataFrame({"a": [3.0, 3.0], "b": [2.0, 3.0], "c": [1.0, 1.0]})
        >>> Ranks.of(table, more=True).average.to_dict()
        {'a': 1.25, 'b': 1.75, 'c': 3.0}
        """
        settings, methods = means.shape
        ranks = means.round(12).rank(axis=1, ascending=not more)
        tied = methods < 3 or (ranks.nunique(axis=1) == 1).all()
        p = math.nan if tied else float(stats.friedmanchisquare(*ranks.to_numpy().T).pvalue)
        q = float(stats.studentized_range.ppf(LEVEL, methods, math.inf)) / math.sqrt(2)
        critical = q * math.sqrt(methods * (methods + 1) / (6 * settings))
        return cls(ranks.mean().sort_values(kind="stable"), settings, p, critical)

    def alike(self) -> list[list[str]]:
        """Return the largest groups of methods that are not told apart, the best first."""
        names, values = list(self.average.index), self.average.to_numpy()
        groups: list[list[str]] = []
        for start in range(len(names)):
            end = start + int((values[start:] - values[start] < self.critical).sum())
            group = names[start:end]
            if len(group) > 1 and not (groups and set(group) <= set(groups[-1])):
                groups.append(group)
        return groups
