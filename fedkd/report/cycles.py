"""Active learning cycle by cycle: labels, what was asked for, accuracy, bytes, seconds, picks."""

import math

import numpy as np
from rich.filesize import decimal

from .drawing.labels import COLUMN, shown
from .reader import Run

HEADINGS = ("cycle", "labels", "asked", "imbalance", "absent", "ALMA global %", "up", "down", "s")


def by_cycle(run: Run) -> list[dict[str, float]]:
    """Return a row a cycle.

    Returns
    -------
    list of dict
        ``cycle``; ``labels`` used; ``annotated`` in this cycle; ``imbalance`` and ``absent`` of
        the labels used; ``accuracy`` as last measured in the cycle; ``bytes_up``, ``bytes_down``
        and ``seconds`` of all its rounds. NaN where unknown.
    """
    cycles = run.column("cycle")
    rows = []
    for number in np.unique(cycles):
        own = cycles == number

        def last(name: str, own: np.ndarray = own) -> float:
            values = run.column(name)[own]
            known = values[~np.isnan(values)]
            return float(known[-1]) if len(known) else math.nan

        row = {name: last(name) for name in ("cycle", "labels", "annotated", "imbalance", "absent")}
        sums = ("bytes_up", "bytes_down", "seconds")
        row |= {name: float(np.nansum(run.column(name)[own])) for name in sums}
        rows.append(row | {"accuracy": last(COLUMN)})
    return rows


def cells(run: Run) -> list[list[str]]:
    """Return `by_cycle` as texts under `HEADINGS`."""
    return [
        [
            shown(row["cycle"], 0),
            shown(row["labels"], 0),
            shown(row["annotated"], 0),
            shown(row["imbalance"], 1),
            shown(row["absent"], 1),
            shown(100 * row["accuracy"], 1),
            decimal(int(row["bytes_up"])),
            decimal(int(row["bytes_down"])),
            shown(row["seconds"], 1),
        ]
        for row in by_cycle(run)
    ]
