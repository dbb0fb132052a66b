"""KnFu's conclusion as a phase diagram: where fusing knowledge helps, and whose.

``python -m fedkd.experiments.reproduce.knfu_phase`` runs `knfu_phase_plan`: local data size times
Dirichlet alpha, for clients that stay alone, FedMD and KnFu, and scans of what tells them apart.
Every finished run is a row of ``--rows FILE``, with each client's own accuracies. Called again, it
runs only what is missing there. ``--plan`` says what that is, and how long it will take, by what
the rows took so far; ``--part I/N`` makes one of N equal pieces of all runs; ``--quick`` makes one
seed of the smaller half of the grid. `knfu_phase_page` makes the page.
"""

import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer
from rich.console import Console

from ...config import RunConfig
from ...config.overrides import compose
from ...errors import ConfigError
from .cells import Row, fill, finals, missing, numbers, saved
from .claims import listed
from .kept import plainly
from .knfu_phase_plan import SEEDS, SETTINGS, SIZES, grid, overrides, wanted
from .manifest import freeze

ROWS = Path("docs/rows/knfu_phase.csv")


def config(one: Row) -> RunConfig:
    """Return what a cell is run with."""
    return compose(_asked(one))


def _asked(one: Row) -> list[str]:
    return [*overrides(one), "device=cpu"]


def measured(one: Row) -> Row | None:
    """Run one; say so if it fails, and leave it."""
    found = finals(_asked(one))
    if found is None:
        return None
    summary, clients, seconds = found
    return {
        **numbers(summary, seconds),
        "clients_local": listed(clients["local"]),
        "clients_overall": listed(clients["global"]),
        "bytes": summary["bytes_up"] + summary["bytes_down"],
    }


def piece(cells: list[Row], part: str) -> list[Row]:
    """Return one of several equal pieces.

    Raises
    ------
    ConfigError
        If `part` is not ``I/N``, with I from 1 to N.

    Examples
    --------
    >>> piece([{"seed": seed} for seed in range(5)], "2/2")
    [{'seed': 1}, {'seed': 3}]
    """
    first, _, last = part.partition("/")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise ConfigError("--part", part, "must be I/N, with I from 1 to N")
    return cells[int(first) - 1 :: int(last)]


def foreseen(cells: list[Row], rows: list[Row]) -> list[str]:
    """Return how many runs are left of each method, and how long they will take, by what is done.

    A run takes what its method took with as many samples, else what it took at all; of a method
    that has not been run nothing is known.
    """
    by_size: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    by_name: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_size[row["data"], row["method"], row["samples"]].append(row["cpu_seconds"])
        by_name[row["method"]].append(row["cpu_seconds"])
    left: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in missing(cells, rows):
        known = by_size.get((one["data"], one["method"], one["samples"])) or by_name[one["method"]]
        left[one["data"], one["method"]].append(fmean(known or [math.nan]))
    lines = [
        f"{d}, {name}: {len(t)} runs, {_amount(sum(t), 's', 0)}" for (d, name), t in left.items()
    ]
    total = _amount(sum(map(sum, left.values())) / 3600, "hours", 1)
    return [*lines, f"{sum(map(len, left.values()))} runs left, {total}"]


def _amount(time: float, unit: str, digits: int) -> str:
    known = f"{time:.{digits}f} {unit} of CPU"
    return "not known how long" if math.isnan(time) else known


@plainly
def command(
    *,
    rows: Annotated[Path, typer.Option(help="CSV file, a row a run.")] = ROWS,
    data: Annotated[str, typer.Option(help="mnist or cifar10.")] = "mnist",
    seeds: Annotated[int, typer.Option(min=1)] = SEEDS,
    part: Annotated[str, typer.Option(help="Only this of N pieces: I/N.")] = "1/1",
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of all runs.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Run nothing; say what is left.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
) -> None:
    """Run what is missing; keep every finished run."""
    console = Console(highlight=False)
    if data not in SETTINGS:
        raise ConfigError("--data", data, "no such data set", SETTINGS)
    every = grid(data, [0], SIZES[:2]) if quick else wanted(data, seeds)
    cells = piece(every, part)
    if plan:
        console.print("\n".join(foreseen(cells, saved(rows))))
        return
    begun = freeze(rows, missing(cells, saved(rows)), config)
    for kept in fill(rows, cells, measured, jobs, begun):
        last = kept[-1]
        where = f"{last['samples']} samples, alpha {last['alpha']:g}, seed {last['seed']}"
        numbers = f"{last['local']:.3f}  {last['overall']:.3f}  {last['cpu_seconds']:.1f} s"
        name = f"{last['method']} {last['change'].strip('-')}"
        console.print(f"{len(kept):5}  {where:34} {name:44} {numbers}", soft_wrap=True)
    if missing(cells, saved(rows)):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(command)
