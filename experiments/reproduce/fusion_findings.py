"""What the rows of the table of all methods say: means, intervals, and three sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr, t

from .cells import Row
from .fusion_plan import SEEDS, Done, score
from .fusion_settings import names, setting

ALONE = "local"


@dataclass(frozen=True)
class Entry:
    """A method under one skew: its runs on the test split, as it comes and tuned."""

    name: str
    plain: list[Row]
    tuned: list[Row]
    chosen: str | None

    @property
    def complete(self) -> bool:
        """Whether all seeds of both are there."""
        return len(self.plain) == len(self.tuned) == SEEDS


def entries(done: Done, alpha: float) -> list[Entry]:
    """Return the methods that have been run, best first: by what is tuned, where it is."""
    found = []
    for name in names():
        chosen = done.chosen(alpha, name)
        plain = done.found(done.finals(alpha, name, setting(name), SEEDS))
        tuned = done.found(done.finals(alpha, name, chosen, SEEDS))
        found.append(Entry(name, plain, tuned, chosen))
    there = [one for one in found if one.plain]
    return sorted(there, key=lambda one: -centre([score(row) for row in one.tuned or one.plain]))


def centre(values: Sequence[float]) -> float:
    """Return the mean, in percent."""
    return 100 * float(np.mean(values))


def reach(values: Sequence[float]) -> float:
    """Return half of Student's 95 % interval of the mean, in percent; NaN for one value.

    Examples
    --------
    >>> round(reach([0.5, 0.7]), 1), reach([0.5])
    (127.1, nan)
    """
    n = len(values)
    if n < 2:
        return float("nan")
    return 100 * float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5)


def told(values: Sequence[float]) -> str:
    """Return mean and half of the interval, which one value has not.

    Examples
    --------
    >>> told([0.5, 0.7]), told([0.5]), told([])
    ('60.0 ± 127.1', '50.0', '-')
    """
    if not values:
        return "-"
    around = f" ± {reach(values):.1f}" if len(values) > 1 else ""
    return f"{centre(values):.1f}{around}"


def sentences(by_alpha: dict[float, list[Entry]]) -> list[str]:
    """Return what the complete rows say."""
    found = {alpha: [one for one in every if one.complete] for alpha, every in by_alpha.items()}
    if any(len(every) < 3 for every in found.values()):
        return ["Too few methods are complete to say anything."]
    return [_best(found), _tuning(found), _alone(found)]


def _mean(one: Entry) -> list[float]:
    return [score(row) for row in one.tuned]


def _best(found: dict[float, list[Entry]]) -> str:
    said = []
    for alpha, (first, *others) in found.items():
        low = centre(_mean(first)) - reach(_mean(first))
        near = sum(centre(_mean(one)) + reach(_mean(one)) >= low for one in others)
        said.append(
            f"under Dirichlet({alpha:g}) `{first.name}` has the highest mean "
            f"({told(_mean(first))}), and the intervals of {near} of {len(others)} others reach its"
        )
    return f"Tuned, {'; '.join(said)}."


def _tuning(found: dict[float, list[Entry]]) -> str:
    said = []
    for alpha, every in found.items():
        plain = [centre([score(row) for row in one.plain]) for one in every]
        tuned = [centre(_mean(one)) for one in every]
        gains = np.array(tuned) - plain
        most, least = every[gains.argmax()].name, every[gains.argmin()].name
        said.append(
            f"{np.median(gains):+.1f} points in the median under Dirichlet({alpha:g}), "
            f"{gains.max():+.1f} for `{most}`, {gains.min():+.1f} for `{least}`, and the order of "
            f"both tables has a rank correlation of {spearmanr(plain, tuned)[0]:.2f}"
        )
    return f"Tuning, by eight runs with one seed, is worth {'; '.join(said)}."


def _alone(found: dict[float, list[Entry]]) -> str:
    said = []
    for alpha, every in found.items():
        alone = next((one for one in every if one.name == ALONE), None)
        if alone is None:
            return f"`{ALONE}` is not complete, so nothing can be compared with staying alone."
        for place, column in (("local", "local"), ("global", "overall")):
            own = [row[column] for row in alone.tuned]
            rest = [[row[column] for row in one.tuned] for one in every if one is not alone]
            worse = sum(centre(v) + reach(v) < centre(own) - reach(own) for v in rest)
            said.append(f"{worse} in {place} accuracy under Dirichlet({alpha:g})")
    return (
        f"Of {len(rest)} tuned methods, these many are worse than clients that stay alone "
        f"(`{ALONE}`) by more than both intervals: {', '.join(said)}."
    )
