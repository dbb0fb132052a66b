"""What an objective costs: CPU seconds in which a client learns on 1,000 samples of its teacher.

``python -m fedkd.experiments.reproduce.objectives_speed`` writes them to ``--out FILE``, all anew,
for they are to be compared: an MLP and MNIST, batches of 32, forward and backward pass and step of
the optimiser, one thread. It is what a run with more epochs of distillation takes longer, of the
quickest of several, everything one after the other. CPU time, as other work would count else.
"""

from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

from .cells import Row, keep, ran
from .objectives import cells, label, learned, overrides
from .objectives_studies import MNIST

SECONDS = Path("docs/rows/objectives_seconds.csv")

SIZE, CLIENTS = 1000, 2
EPOCHS = (1, 21)
"""Of the shorter and of the longer run."""


def spent(way: Row, epochs: int) -> float:
    """Return the CPU seconds of a whole run under FedMD."""
    cell = next(c for c in cells(MNIST, 1, [way]) if c["strategy"] == "fedmd")
    small = [f"clients={CLIENTS}", f"transfer.size={SIZE}", f"distil.epochs={epochs}", "rounds=1"]
    return ran([*overrides(MNIST, cell), *small, "device=cpu"])[1]


def seconds(runs: dict[int, list[float]]) -> float:
    """Return the seconds for 1,000 samples, of what runs of so many epochs have taken.

    Examples
    --------
    >>> seconds({1: [3.0, 2.0], 21: [4.0, 9.0]})
    0.05
    """
    few, many = EPOCHS
    longer = min(runs[many]) - min(runs[few])
    return round(longer * 1000 / (SIZE * CLIENTS * (many - few)), 4)


def command(
    *,
    out: Annotated[Path, typer.Option(help="CSV file, a row an objective or guard.")] = SECONDS,
    repeats: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Measure every objective and guard."""
    runs: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    ways = learned()
    spent(ways[0], 1)  # imports, and the data's first reading
    for _ in range(repeats):
        for way, epochs in product(ways, EPOCHS):
            runs[label(way)][epochs].append(spent(way, epochs))
    rows = [
        {"objective": way["objective"], "guard": way["guard"], "seconds": seconds(runs[label(way)])}
        for way in ways
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    keep(out, rows)


if __name__ == "__main__":
    typer.run(command)
