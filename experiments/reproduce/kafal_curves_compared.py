"""What the rows of KAFAL's curves say: means by cycle, and who is above whom, seed by seed."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from statistics import fmean

from .cells import Row
from .claims import NOT, OPEN, ORDERING, UNTRIED, unlisted
from .kafal_curves_plan import (
    AS_IS,
    BALANCED,
    CURVES,
    DATA,
    EARLY,
    KCFU,
    KSAS,
    PLAIN,
    RANDOM,
    SAMPLERS,
)
from .paired import BETTER, FEW, UNDECIDED, WORSE, Pairs, apart, by_cell, compared, minus, told

Curve = tuple[str, str]
"""Local update and sampler."""

LAST = "last cycle"
MEASURES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean over cycles": fmean,
    LAST: itemgetter(-1),
}

EXPECTED = {
    "one class each": ("clients with labels of one class", WORSE),
    "two classes each": ("clients with labels of one class", BETTER),
    "Dirichlet(1)": ("classes that clients have no labels of", BETTER),
    "1 local epoch": ("few local epochs", WORSE),
    "20 local epochs": ("few local epochs", BETTER),
    "100 labels a cycle": ("few labels", BETTER),
}
"""What may be why balanced softmax falls behind, and where the distance would go if it were."""


class Curves:
    """Rows of one data set by cell.

    Parameters
    ----------
    rows : list of dict
        All that were kept.
    data : str
        Which data set.
    """

    def __init__(self, rows: Sequence[Row], data: str) -> None:
        self.all = [row for row in rows if row["data"] == data]
        self._by = by_cell(self.all, "update", "sampler", "change")

    def rows(self, curve: Curve, change: str = AS_IS) -> dict[int, Row]:
        """Return the rows of a cell by seed."""
        return self._by.get((*curve, change), {})

    def of(self, curve: Curve, change: str = AS_IS) -> dict[int, list[float]]:
        """Return the accuracies after each cycle by seed, in per cent."""
        return {s: numbers(row, "accuracies", 100) for s, row in self.rows(curve, change).items()}

    def paired(
        self, one: Curve, other: Curve, change: str = AS_IS, cycles: int | None = None
    ) -> dict[int, list[float]]:
        """Return by how much one curve is above another after each of the first cycles, by seed."""
        a, b = self.of(one, change), self.of(other, change)
        return {
            seed: [x - y for x, y in zip(a[seed], b[seed], strict=True)][:cycles]
            for seed in a
            if seed in b
        }

    def lead(self, one: Curve, other: Curve, measure: str) -> list[float]:
        """Return by how much one curve is above another by a measure, seed by seed."""
        return [MEASURES[measure](found) for found in self.paired(one, other).values()]

    def behind(self, change: str, update: str = BALANCED) -> dict[int, float]:
        """Return by how much an update is above plain training in the early cycles, by seed."""
        pairs = self.paired((update, RANDOM), (PLAIN, RANDOM), change, EARLY)
        return {seed: fmean(found) for seed, found in pairs.items()}

    def moved(self, change: str) -> list[float]:
        """Return how far a change moves balanced softmax up against plain training, by seed."""
        return minus(self.behind(change), self.behind(AS_IS))

    def shared(self) -> dict[Curve, list[list[float]]]:
        """Return the curves that there are, over the seeds that all of these have."""
        every = {curve: found for curve in CURVES if (found := self.of(curve))}
        seeds = set.intersection(*map(set, every.values())) if every else set()
        return {c: [found[seed] for seed in sorted(seeds)] for c, found in every.items() if seeds}


def numbers(row: Row, column: str, scale: float = 1) -> list[float]:
    """Return the numbers of a cell, "-" being none.

    Examples
    --------
    >>> numbers({"absent": "7.0 6.5"}, "absent"), numbers({"absent": "-"}, "absent")
    ([7.0, 6.5], [])
    """
    return [scale * one for one in unlisted(row[column])]


def verdicts(every: Sequence[Curves]) -> list[str]:
    """Return a line a part and data set: what was claimed, the verdict, and why."""
    return [
        f"- {title}, {what}: **{word}** ({why})."
        for title, found in zip(DATA.values(), every, strict=True)
        for what, word, why in _parts(found)
    ]


def _parts(found: Curves) -> list[tuple[str, str, str]]:
    best, others = (KCFU, KSAS), [name for name in SAMPLERS if name != KSAS]
    ahead: dict[str, Pairs] = {
        measure: [(name, found.lead(best, (KCFU, name), measure)) for name in others]
        for measure in MEASURES
    }
    both = [name for update, name in CURVES if update == PLAIN]
    updates = [(name, found.lead((KCFU, name), (PLAIN, name), LAST)) for name in both]
    return [
        *((f"KSAS is better than random, {m}", *everywhere(ahead[m][:1])) for m in MEASURES),
        ("KSAS is the best of all samplers, last cycle", *everywhere(ahead[LAST])),
        ("KCFU is better than plain FedAvg, last cycle", *told(updates)),
    ]


def everywhere(pairs: Pairs) -> tuple[str, str]:
    """Return the verdict on what is claimed of all comparisons at once.

    Examples
    --------
    >>> everywhere([("a", [1.0, 1.1, 0.9]), ("b", [1.0, -1.0, 0.5])])
    ('undecided', 'a: better, +1.0 ± 0.2; b: not told apart, +0.2 ± 2.6')
    >>> everywhere([("a", [1.0, 1.1, 0.9]), ("b", [2.0])])
    ('not tried', 'fewer than three seeds of b')
    """
    if few := [name for name, found in pairs if len(found) < FEW]:
        return UNTRIED, f"fewer than three seeds of {', '.join(few)}"
    words = {name: compared(found) for name, found in pairs}
    why = "; ".join(f"{name}: {words[name]}, {apart(found)}" for name, found in pairs)
    found = set(words.values())
    return (ORDERING if found == {BETTER} else NOT if WORSE in found else OPEN), why


def as_expected(change: str, moved: Sequence[float]) -> str:
    """Say whether a change moves balanced softmax where its cause would have it.

    Examples
    --------
    >>> as_expected("1 local epoch", [-1.0, -1.1, -0.9]), as_expected("Dirichlet(1)", [1.0, -1.0])
    ('as expected', '-')
    >>> as_expected("two classes each", [-1.0, -1.1, -0.9])
    'the other way'
    """
    if len(moved) < FEW:
        return "-"
    if (word := compared(moved)) == UNDECIDED:
        return word
    return "as expected" if word == EXPECTED[change][1] else "the other way"
