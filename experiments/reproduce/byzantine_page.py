"""The page of hostile clients and the mean of soft labels, from the rows that were kept.

``python -m fedkd.experiments.reproduce.byzantine_page`` writes ``docs/byzantine.md`` from
``--rows``; it runs nothing.
"""

from itertools import product
from pathlib import Path
from statistics import fmean

import typer

from ...report.markdown import table
from .byzantine import (
    AGAINST,
    AVERAGED,
    CHANCE,
    CLAIM,
    FLIPPED,
    LIES,
    MEAN,
    METHODS,
    NONE,
    ROBUST,
    ROWS,
    SHARES,
    TENFOLD,
    cells,
)
from .byzantine_words import COUNTED, TAIL
from .cells import Row, honest
from .claims import unlisted
from .pages import writing
from .paired import PLACES, Pairs, apart, by_cell, listing, minus, spread, told
from .tables import opening, undone

PAGE = Path("docs/byzantine.md")


class Runs:
    """Runs by cell.

    Parameters
    ----------
    rows : list of dict
        All that were kept.
    """

    def __init__(self, rows: list[Row]) -> None:
        self._by = by_cell(rows, "method", "lie", "share")

    def of(self, method: str, lie: str = NONE, share: float = 0.0) -> dict[int, Row]:
        """Return the runs of a cell by seed."""
        return self._by.get((method, lie, share), {})

    def honest(self, method: str, lie: str, share: float, column: str) -> dict[int, float]:
        """Return the honest clients' mean accuracy by seed, in per cent."""
        return {s: _mean(row, row, column) for s, row in self.of(method, lie, share).items()}

    def cost(self, method: str, lie: str, share: float, column: str) -> dict[int, float]:
        """Return by how many points the same clients are better without attackers, by seed."""
        clean = self.of(method)
        return {
            seed: _mean(clean[seed], row, column) - _mean(row, row, column)
            for seed, row in self.of(method, lie, share).items()
            if seed in clean
        }


def _mean(row: Row, attacked: Row, column: str) -> float:
    """Return the mean accuracy in a run of those who are honest in another one, in per cent."""
    values, lies = map(unlisted, (row[f"clients_{column}"], attacked["hostile"]))
    return 100 * fmean(honest(values, lies))


def page(rows: list[Row]) -> str:
    """Return the page."""
    begun, runs = opening(CLAIM, rows, undone(cells(), rows)), Runs(rows)
    parts = [*begun, *listing(verdicts(runs)), COUNTED]
    return "\n".join([*parts, _accuracies(runs), _costs(runs), TAIL])


def verdicts(runs: Runs) -> dict[str, tuple[str, str]]:
    """Return the verdict on each part, and why; accuracies are on all classes."""
    parts = {}
    for lie in (FLIPPED, CHANCE, AGAINST):
        what = f"Hostile clients ({lie}) cost the mean of soft labels less than FedAvg"
        parts[what] = told(_dearer(runs, (AVERAGED, lie), (MEAN, lie)))
    what = "Updates of tenfold length cost FedAvg more than LMA costs the mean of soft labels"
    parts[what] = told(_dearer(runs, (AVERAGED, TENFOLD), (MEAN, AGAINST)))
    for other in (FLIPPED, CHANCE):
        what = f"LMA costs the mean of soft labels more than {other}"
        parts[what] = told(_dearer(runs, (MEAN, AGAINST), (MEAN, other)))
    for rule in ROBUST:
        what = f"Under attack `{rule}` is better than the mean of soft labels"
        parts[what] = told(_gains(runs, rule))
        lost = [
            (f"{lie}, {where}", found)
            for lie in (FLIPPED, CHANCE, AGAINST)
            for where, found in _dearer(runs, (MEAN, lie), (rule, lie))
        ]
        parts[f"Hostile clients cost `{rule}` less than the mean of soft labels"] = told(lost)
    return parts


def _dearer(runs: Runs, one: tuple[str, str], other: tuple[str, str]) -> Pairs:
    """Return by how many points one costs more than the other, for each share."""
    costs = [[runs.cost(*which, share, "overall") for which in (one, other)] for share in SHARES]
    return [(_part(share), minus(*both)) for share, both in zip(SHARES, costs, strict=True)]


def _gains(runs: Runs, rule: str) -> Pairs:
    """Return by how many points a rule is better than the mean, for each lie and share."""
    return [
        (
            f"{lie}, {_part(share)}",
            minus(*(runs.honest(name, lie, share, "overall") for name in (rule, MEAN))),
        )
        for lie, share in product((FLIPPED, CHANCE, AGAINST), SHARES)
    ]


def _part(share: float) -> str:
    return f"{100 * share:.0f} % hostile"


def _accuracies(runs: Runs) -> str:
    heads = ("hostile clients", "share", "method", *PLACES, "ALMA global", "seeds", "CPU s a run")
    lines = [heads, *filter(None, (_accuracy(runs, *cell) for cell in _cells()))]
    return "## Honest clients\n\nAccuracy in %, local and global.\n\n" + table(lines)


def _accuracy(runs: Runs, lie: str, share: float, method: str) -> tuple[str, ...] | None:
    """Return a line of the table, None if nothing has been run."""
    if not (own := runs.of(method, lie, share)):
        return None
    values = (runs.honest(method, lie, share, column) for column in PLACES.values())
    numbers = [spread(list(one.values())) for one in values]
    every = spread([100 * row["overall"] for row in own.values()])
    seconds = fmean(row["cpu_seconds"] for row in own.values())
    what = (lie, _part(share), f"`{method}`")
    return *what, *numbers, every, str(len(own)), f"{seconds:.0f}"


def _costs(runs: Runs) -> str:
    lines: list[tuple[str, ...]] = [
        ("hostile clients", "share", *(f"`{name}`" for name in METHODS))
    ]
    for lie, share in product(list(LIES)[1:], SHARES):
        found = (_lost(runs, lie, share, method) for method in METHODS)
        lines.append((lie, _part(share), *found))
    return "## What they cost\n\nPoints, local / global.\n\n" + table(lines)


def _lost(runs: Runs, lie: str, share: float, method: str) -> str:
    costs = (runs.cost(method, lie, share, column) for column in PLACES.values())
    return " / ".join(apart(list(one.values())) for one in costs)


def _cells() -> list[tuple[str, float, str]]:
    lies = [(NONE, 0.0), *product(list(LIES)[1:], SHARES)]
    return [(*one, method) for one, method in product(lies, METHODS)]


command = writing(page, PAGE, ROWS)

if __name__ == "__main__":
    typer.run(command)
