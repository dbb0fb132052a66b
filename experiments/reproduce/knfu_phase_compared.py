"""What the rows of KnFu's phase diagram say: who wins where, and who gains."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from .cells import Row
from .claims import unlisted
from .knfu_phase_plan import ALONE, ALPHAS, AS_IS, AUTO, HERE, METHODS, SIZES
from .paired import FEW, above, by_cell, minus


@dataclass(frozen=True)
class Winner:
    """Who is best in a cell of the grid, in per cent, and whom that cannot be told from."""

    name: str
    mean: float
    others: tuple[str, ...]
    seeds: int

    @property
    def decided(self) -> bool:
        """Whether the best is better than all others by paired intervals."""
        return not self.others and self.seeds >= FEW


class Rows:
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
        self._by = by_cell(self.all, "samples", "alpha", "method", "change")

    def of(
        self, method: str, samples: int = HERE[0], alpha: float = HERE[1], change: str = AS_IS
    ) -> dict[int, Row]:
        """Return the rows of a cell by seed."""
        return self._by.get((samples, alpha, method, change), {})

    def values(self, method: str, column: str, *cell: float | str) -> dict[int, float]:
        """Return a number of a cell's rows by seed, in per cent."""
        found = self.of(method, *cell)  # type: ignore[arg-type]
        return {seed: 100 * float(row[column]) for seed, row in found.items()}

    def paired(self, one: str, other: str, column: str, *cell: float | str) -> list[float]:
        """Return by how much one method is above another, seed by seed, in points."""
        return minus(*(self.values(name, column, *cell) for name in (one, other)))

    def winner(self, column: str, samples: int, alpha: float) -> Winner | None:
        """Return the best method of a cell in which all have been run, with the seeds all have."""
        every = {name: self.values(name, column, samples, alpha) for name in METHODS}
        seeds = sorted(set.intersection(*(set(found) for found in every.values())))
        if not seeds:
            return None
        means = {name: float(np.mean([v[s] for s in seeds])) for name, v in every.items()}
        best = max(means, key=lambda name: means[name])
        near = (
            name
            for name, found in every.items()
            if name != best and not above([every[best][s] - found[s] for s in seeds])
        )
        return Winner(best, means[best], tuple(near), len(seeds))

    def gaining(self, method: str, column: str, samples: int, alpha: float) -> list[float]:
        """Return the share of clients that end better than alone, seed by seed."""
        own, alone = self.of(method, samples, alpha), self.of(ALONE, samples, alpha)
        return [
            float(np.mean(np.subtract(each(own[s], column), each(alone[s], column)) > 0))
            for s in sorted(own)
            if s in alone
        ]


def each(row: Row, column: str) -> list[float]:
    """Return the clients' own numbers."""
    return unlisted(row[f"clients_{column}"])


@dataclass(frozen=True)
class Chosen:
    """``beta=auto`` in a cell, beside the better of staying alone and FedMD, local accuracy."""

    samples: int
    alpha: float
    better: str
    differences: list[float]
    deviation: float
    """of auto over seeds"""

    @property
    def below(self) -> bool:
        """Whether it is below by more than its spread."""
        return float(np.mean(self.differences)) < -self.deviation


def choices(rows: Rows, fedmd: str, column: str = "local") -> list[Chosen]:
    """Return ``beta=auto`` in the cells that have two seeds of it; `fedmd` names FedMD's form."""
    found = []
    for samples, alpha in product(SIZES, ALPHAS):
        values = rows.values(AUTO, column, samples, alpha)
        rest = {name: rows.values(name, column, samples, alpha) for name in (ALONE, fedmd)}
        if len(values) < 2 or not all(set(values) <= set(own) for own in rest.values()):
            continue
        means = {name: np.mean([own[seed] for seed in values]) for name, own in rest.items()}
        better = max(means, key=lambda name: float(means[name]))
        differences = [values[seed] - rest[better][seed] for seed in values]
        deviation = float(np.std(list(values.values()), ddof=1))
        found.append(Chosen(samples, alpha, better, differences, deviation))
    return found
