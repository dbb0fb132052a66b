"""The page of Flower's FedAvg on MNIST: claim, numbers and verdict, from the rows that were kept.

``python -m fedkd.experiments.reproduce.niid_fedavg_page`` writes ``docs/niid_fedavg.md`` from
``--rows``; it runs nothing.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import typer

from ...report.markdown import table
from .cells import Row
from .claims import UNTRIED, shown, verdict
from .curves import curve
from .niid_fedavg import ALPHA, CLAIM, FULL, QUICK, ROWS, cells
from .pages import writing
from .tables import chosen, framed, seconds, versions

PAGE = Path("docs/niid_fedavg.md")
SEEDS = 3

MEASURES: dict[str, Callable[[Row], float]] = {
    "last round": lambda row: float(row["overall"]),
    "best of all rounds, as published": lambda row: max(curve(row)),
}

SHORT = """Five rounds of one local epoch: no verdict on the claim follows from it.
"""
HOW = """## How this was made

From [a row a run](rows/niid_fedavg.csv), with the accuracy on the whole test split after each
round. Deviations are sample deviations over seeds. CPU seconds are a run's on one core of a
two-core x86-64 machine, with other work beside it. This goes on with what is missing and writes
this page anew:

<!-- not run: takes hours, and MNIST -->
```sh
python -m fedkd.experiments.reproduce.niid_fedavg --quick
python -m fedkd.experiments.reproduce.niid_fedavg
python -m fedkd.experiments.reproduce.niid_fedavg_page
```
"""


def page(rows: list[Row]) -> str:
    """Return the page."""
    return framed(CLAIM, rows, cells(SEEDS), [*_verdicts(rows), "", *_tables(rows), HOW])


def _verdicts(rows: list[Row]) -> list[str]:
    own = chosen(rows, rounds=FULL)
    if len(own) < SEEDS:
        return [f"- accuracy: **{UNTRIED}** ({len(own)} of {SEEDS} seeds have been run)."]
    lines = []
    for what, of in MEASURES.items():
        found = {"fedavg": float(np.mean([of(row) for row in own]))}
        word, why = verdict(found, {"fedavg": CLAIM.published["fedavg"][ALPHA]}, [])
        lines.append(f"- {what}: **{word}** ({why}; {len(own)} seeds).")
    return lines


def _tables(rows: list[Row]) -> list[str]:
    mean, deviation = CLAIM.published["fedavg"][ALPHA]
    parts = []
    for heading, whole, own in versions(rows, FULL, QUICK):
        ours = [shown([of(row) for row in own]) for of in MEASURES.values()]
        line = (f"{mean:.2f} ± {deviation:.2f}", *ours, str(len(own)), seconds(own))
        heads = ("published", *MEASURES, "seeds", "CPU s")
        parts += [heading, *([] if whole else [SHORT]), table([heads, line])]
    return parts


command = writing(page, PAGE, ROWS)


if __name__ == "__main__":
    typer.run(command)
