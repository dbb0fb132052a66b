"""Differences of runs with the same seed: their interval, and what they decide of a claim."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import ttest_1samp

from .cells import Row
from .claims import NOT, OPEN, ORDERING, UNTRIED

PLACES = {"local": "local", "global": "overall"}
"""What the page calls a number, and its column."""

FEW = 3
"""Seeds that an interval takes."""

TINY = 1e-9
"""Points that are no difference."""

BETTER, WORSE, UNDECIDED = "better", "worse", "not told apart"
Pairs = list[tuple[str, list[float]]]
"""Cells of a claim, and their differences, one a seed, in points."""


def by_seed(rows: Sequence[Row], column: str, **cell: object) -> dict[int, float]:
    """Return a share of the rows of a cell by seed, in per cent.

    Examples
    --------
    >>> by_seed([{"seed": 1, "alpha": 1.0, "local": 0.5}, {"alpha": 0.1}], "local", alpha=1)
    {1: 50.0}
    """
    own = [row for row in rows if cell.items() <= row.items()]
    return {row["seed"]: 100 * row[column] for row in sorted(own, key=lambda row: row["seed"])}


def by_cell(rows: Sequence[Row], *columns: str) -> dict[tuple[object, ...], dict[int, Row]]:
    """Return rows by what these columns have, and by seed, in the order of the seeds.

    Examples
    --------
    >>> by_cell([{"alpha": 1, "seed": 1}, {"alpha": 1, "seed": 0}], "alpha")
    {(1,): {0: {'alpha': 1, 'seed': 0}, 1: {'alpha': 1, 'seed': 1}}}
    """
    found: dict[tuple[object, ...], dict[int, Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        found.setdefault(tuple(row[column] for column in columns), {})[row["seed"]] = row
    return found


def minus(one: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """Return by how much one is above the other, seed by seed, of the seeds that both have.

    Examples
    --------
    >>> minus({0: 3.0, 1: 5.0}, {1: 4.0, 2: 1.0})
    [1.0]
    """
    return [one[seed] - other[seed] for seed in one if seed in other]


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return Student's 95 % interval of the mean; all numbers for fewer than three.

    Examples
    --------
    >>> interval([1.0, 1.0, 1.0]), interval([1.0, 1.0])
    ((1.0, 1.0), (-inf, inf))
    """
    if len(differences) < FEW:
        return -np.inf, np.inf
    if np.ptp(differences) < TINY:  # where the test would lose all digits
        return differences[0], differences[0]
    low, high = ttest_1samp(differences, 0).confidence_interval(0.95)
    return float(low), float(high)


def above(differences: Sequence[float]) -> bool:
    """Say whether differences, one a seed, are above zero by that interval.

    Examples
    --------
    >>> above([1.0, 1.1, 0.9]), above([1.0, -1.0, 0.5]), above([1.0, 1.0])
    (True, False, False)
    """
    return interval(differences)[0] > 0


def apart(differences: Sequence[float]) -> str:
    """Return the mean difference and half of its interval; "-" for none.

    Examples
    --------
    >>> apart([1.0, 2.0, 3.0]), apart([1.0]), apart([])
    ('+2.0 ± 2.5', '+1.0', '-')
    """
    if not differences:
        return "-"
    low, high = interval(differences)
    around = "" if np.isinf(low) else f" ± {(high - low) / 2:.1f}"
    return f"{np.mean(differences):+.1f}{around}"


def spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation; "-" for none.

    Examples
    --------
    >>> spread([50.0, 70.0]), spread([50.0]), spread([])
    ('60.0 ± 14.1', '50.0', '-')
    """
    if not len(values):
        return "-"
    mean = f"{np.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.1f}"


def compared(differences: Sequence[float]) -> str:
    """Say where differences, one a seed, are by their 95 % interval.

    Examples
    --------
    >>> compared([1.0, 1.1, 0.9]), compared([-1.0, -1.1, -0.9]), compared([1.0, -1.0])
    ('better', 'worse', 'not told apart')
    """
    if above(differences):
        return BETTER
    return WORSE if above([-one for one in differences]) else UNDECIDED


def told(pairs: Pairs, margin: float = 0.0) -> tuple[str, str]:
    """Return the verdict on what is claimed of every cell: no number is, so the order decides.

    Parameters
    ----------
    pairs : list of (where, differences)
        A cell each.
    margin : float
        Points by which one may be worse, where it is claimed to be as good.

    Examples
    --------
    >>> told([("a", [1.0, 1.1, 0.9]), ("b", [])])
    ('ordering reproduced', 'better in 1 cell of 1 with three seeds or more: a +1.0 ± 0.2')
    >>> told([("a", [-0.5, -0.6, -0.4])], margin=1)[1]
    'as good but for 1 point in 1 cell of 1 with three seeds or more: a -0.5 ± 0.2'
    >>> told([("a", [-1.0, -1.1, -0.9])])[0], told([("a", [1.0, -1.0, 0.5])])[0], told([])[0]
    ('not reproduced', 'undecided', 'not tried')
    """
    tried = [(where, found) for where, found in pairs if len(found) >= FEW]
    if not tried:
        seeds = max((len(found) for _, found in pairs), default=0)
        many = _counted(seeds, "seed"), _counted(len(pairs), "cell")
        return UNTRIED, f"at most {' of '.join(many)}"
    by: dict[str, Pairs] = {}
    for where, found in tried:
        by.setdefault(compared([one + margin for one in found]), []).append((where, found))
    holds = len(by.get(BETTER, [])) > len(tried) / 2 and WORSE not in by
    names = {WORSE: WORSE, UNDECIDED: UNDECIDED} | {
        BETTER: f"as good but for {_counted(margin, 'point')}" if margin else BETTER
    }
    order = (BETTER, WORSE, UNDECIDED)
    words = [f"{names[word]} in {_counted(len(by[word]), 'cell')}" for word in order if word in by]
    shown = _ends(by.get(WORSE) or by.get(BETTER) or by[UNDECIDED])
    shown = f"{WORSE} {shown}" if WORSE in by and len(by) > 1 else shown
    why = f"{', '.join(words)} of {len(tried)} with three seeds or more: {shown}"
    return (ORDERING if holds else NOT if WORSE in by else OPEN), why


SHOWN = 3
"""Cells that a verdict tells one by one; of more, it tells between which they are."""


def _ends(pairs: Pairs) -> str:
    """Return the differences of cells; of many, the least and the largest."""
    if len(pairs) <= SHOWN:
        return "; ".join(f"{where} {apart(found)}" for where, found in pairs)
    least, *_, most = sorted(pairs, key=lambda pair: float(np.mean(pair[1])))
    return f"from {least[0]} {apart(least[1])} to {most[0]} {apart(most[1])}"


def listing(parts: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return a line a part of a claim: what, the verdict, and why.

    Examples
    --------
    >>> listing({"a is better": ("not tried", "no seed")})
    ['- a is better: **not tried** (no seed).']
    """
    return [f"- {what}: **{word}** ({why})." for what, (word, why) in parts.items()]


def _counted(count: float, noun: str) -> str:
    return f"{count:g} {noun}{'s' * (count != 1)}"
