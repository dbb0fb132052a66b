"""The page of Song et al.'s Table II: claim, numbers and verdict, from the rows that were kept.

``python -m fedkd.experiments.reproduce.song_table2_page`` writes ``docs/song_table2.md`` from
``--rows``; it runs nothing.
"""

from pathlib import Path

import numpy as np
import typer

from ...report.markdown import table
from .cells import Row
from .claims import NOT, OPEN, REPRODUCED, UNTRIED, early, shown
from .curves import curve, reached
from .knfu_phase_verdict import told
from .pages import writing
from .paired import interval
from .song_table2 import (
    ACCURACIES,
    ALPHAS,
    CLAIM,
    FORGOTTEN,
    FULL,
    METHODS,
    QUICK,
    ROWS,
    SETTINGS,
    SOONER,
    cells,
)
from .tables import chosen, framed, seconds, versions

PAGE = Path("docs/song_table2.md")
SEEDS = 3
BEST, SECOND = "feddistill_group", "fedntd"
FAR = [(one, other) for one in (BEST, SECOND) for other in METHODS if other not in (BEST, SECOND)]
"""What the claim says is far better than what."""

SHORT = """A fifth of the rounds with a fifth of the local epochs, one seed: no verdict on the claim
follows from it. Columns are those of the full table.
"""
MEASURED = """Accuracy of the server's model on the whole test split after the last round, %; *best
round* is chosen by the test split and shows how far models swing. *Forgotten* is the mean over
classes of the best accuracy of an earlier round minus the last. *To FedAvg's* is the first round
whose mean accuracy is that of FedAvg's last one; both as published / ours.
"""
HOW = """## How this was made

From [a row a run](rows/song_table2.csv), with the accuracy after each round. Differences are paired
by seed, with half of Student's 95 % interval; ± of an accuracy is the deviation over seeds. CPU
seconds are a run's on one core of a two-core x86-64 machine, with other work beside it. This goes
on with what is missing and writes this page anew:

<!-- not run: takes hours, and MNIST -->
```sh
python -m fedkd.experiments.reproduce.song_table2 --quick
python -m fedkd.experiments.reproduce.song_table2
python -m fedkd.experiments.reproduce.song_table2 --data cifar10
python -m fedkd.experiments.reproduce.song_table2_page
```
"""


WIDE = 10.0
"""Points from end to end of an interval in which any published number would be."""


def page(rows: list[Row]) -> str:
    """Return the page."""
    every = [cell for data in ALPHAS for cell in cells(SEEDS, data=data)]
    lines = [line for data, alpha in SETTINGS for line in _verdicts(rows, data, alpha)]
    return framed(CLAIM, rows, every, [*lines, "", *_tables(rows), HOW])


def _verdicts(rows: list[Row], data: str, alpha: float) -> list[str]:
    where = f"{data}, alpha {alpha:g}"
    own = {m: chosen(rows, data=data, alpha=alpha, rounds=FULL, method=m) for m in METHODS}
    if lacking := [name for name in METHODS if len({r["seed"] for r in own[name]}) < SEEDS]:
        return [f"- {where}: **{UNTRIED}** (without three seeds: {', '.join(lacking)})."]
    better, less = (
        [_pair(own, *pair, column) for pair in FAR] for column in ("overall", "forgotten")
    )
    parts = {
        "FedDistill and FedNTD are better than the others": told(better),
        "FedDistill is better than FedNTD": told([_pair(own, BEST, SECOND, "overall")]),
        "FedDistill and FedNTD forget less": told(
            [(at, [-d for d in found]) for at, found in less]
        ),
        "accuracies are as published": _numbers(own, SETTINGS.index((data, alpha))),
    }
    return [f"- {where}, {part}: **{word}** ({why})." for part, (word, why) in parts.items()]


def _pair(own: dict[str, list[Row]], one: str, other: str, column: str) -> tuple[str, list[float]]:
    """Return by how many points a method is above another, seed by seed, and which they are."""
    base = {row["seed"]: row[column] for row in own[other]}
    found = [100 * (row[column] - base[row["seed"]]) for row in own[one] if row["seed"] in base]
    return f"{one} over {other}", found


def _numbers(own: dict[str, list[Row]], place: int) -> tuple[str, str]:
    """Return whether every published mean is in the interval of ours; a wide one tells nothing."""
    outside, wide = [], []
    for name, runs in own.items():
        low, high = interval([100 * row["overall"] for row in runs])
        if not low <= ACCURACIES[name][place] <= high:
            outside.append(f"{name} {low:.1f} to {high:.1f}, published {ACCURACIES[name][place]}")
        elif high - low > WIDE:
            wide.append(f"{name} {low:.1f} to {high:.1f}")
    if outside:
        return NOT, "; ".join(outside)
    return (OPEN, "; ".join(wide)) if wide else (REPRODUCED, "all in the intervals of ours")


def _tables(rows: list[Row]) -> list[str]:
    parts = []
    for heading, whole, own in versions(rows, FULL, QUICK):
        words = [MEASURED] if whole else [SHORT, MEASURED, *_orders(own)]
        parts += [heading, *words, table(lines(own))]
    return parts


def _orders(rows: list[Row]) -> list[str]:
    said = []
    for data, alpha in SETTINGS:
        if here := chosen(rows, data=data, alpha=alpha):
            own = {m: [row["overall"] for row in chosen(here, method=m)] for m in METHODS}
            found = {name: float(np.mean(values)) for name, values in own.items() if values}
            said.append(
                f"- {data}, alpha {alpha:g}: {early(found, [*FAR, (BEST, SECOND)], QUICK)}."
            )
    return [*said, ""]


def lines(rows: list[Row]) -> list[tuple[str, ...]]:
    """Return a line a setting and method: each number as published, and ours."""
    ours = "last round", "best round", "forgotten", "to FedAvg's", "seeds", "CPU s"
    found: list[tuple[str, ...]] = [("data", "alpha", "method", "published", *ours)]
    for place, (data, alpha) in enumerate(SETTINGS):
        here = chosen(rows, data=data, alpha=alpha)
        level = np.mean([row["overall"] for row in chosen(here, method="fedavg")] or [np.inf])
        for method in METHODS:
            if not (own := chosen(here, method=method)):
                continue
            curves = [curve(row) for row in own]
            last, best = shown([row["overall"] for row in own]), shown([max(c) for c in curves])
            lost = np.mean([row["forgotten"] for row in own])
            soon = reached(np.mean(curves, axis=0).tolist(), float(level))
            claimed = SOONER.get(method, (None,) * 4)[place]
            about = (
                data,
                f"{alpha:g}",
                f"`{method}`",
                f"{ACCURACIES[method][place]:.2f}",
                last,
                best,
            )
            both = (
                f"{FORGOTTEN[method][place]:.4f} / {lost:.4f}",
                f"{claimed or '-'} / {soon or '-'}",
            )
            found.append((*about, *both, str(len(own)), seconds(own)))
    return found


command = writing(page, PAGE, ROWS)


if __name__ == "__main__":
    typer.run(command)
