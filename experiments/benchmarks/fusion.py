"""Time and memory of fusion, against the number of clients: ``make bench-fusion``."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console

from ...errors import ConfigError, FedkdError
from .cells import Cell, estimate, figure, row, table
from .facts import machine
from .measure import observe
from .systems import FUSION, METHODS
from .works import Job

SIZES = "100x2000x10,1000x2000x10,10000x2000x10,1000x10000x100"


def measured(cell: Cell, timeout: float) -> Cell:
    """Run a cell in a fresh process, unless it cannot fit."""
    need, free = estimate(cell), psutil.virtual_memory().available
    if need > free:
        error = f"not tried: needs about {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are available"
        return replace(cell, error=error)
    size = {"clients": cell.clients, "samples": cell.samples, "classes": cell.classes}
    job = Job(FUSION, cell.method, size, "", "", actors=cell.actors, memory=cell.actors is not None)
    found = observe(job, timeout)
    if found.told is None:
        return replace(cell, error=found.error)
    told = found.told
    if job.memory:
        told |= {"peak": found.peak(told["ends"][-1]), "before": 0}
    return replace(cell, seconds=told["seconds"], peak=told["peak"], before=told["before"])


def parse(sizes: str) -> list[tuple[int, int, int]]:
    """Return sizes as numbers.

    Examples
    --------
    >>> parse("100x2000x10,7x5x3")
    [(100, 2000, 10), (7, 5, 3)]
    """
    found = []
    for text in sizes.split(","):
        parts = text.strip().split("x")
        if len(parts) != 3 or not all(part.isdigit() and int(part) for part in parts):
            raise ConfigError("sizes", text, "must be CLIENTSxSAMPLESxCLASSES, as 100x2000x10")
        found.append((int(parts[0]), int(parts[1]), int(parts[2])))
    return found


def command(
    *,
    sizes: str = SIZES,
    methods: str = ",".join(METHODS),
    actors: Annotated[int | None, typer.Option(min=1)] = None,
    timeout: float = 900.0,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
    picture: Annotated[Path | None, typer.Option("--figure")] = None,
) -> None:
    """Measure a round of fusion, each method and size in a process of its own.

    --actors runs the Ray engine with so many; otherwise everything is in one process. With an
    existing --json file its other cells are kept. --timeout is per cell, in seconds.
    """
    console = Console(highlight=False)
    try:
        names = [name.strip() for name in methods.split(",")]
        for name in names:
            if name not in METHODS:
                raise ConfigError("methods", name, "not available", METHODS)
        todo = [Cell(name, *size, actors) for size in parse(sizes) for name in names]
    except FedkdError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    path = json_file or Path("runs") / f"fusion-{time.strftime('%Y%m%d-%H%M%S')}.json"
    old = json.loads(path.read_text())["cells"] if path.exists() else []
    cells = {cell.key: cell for cell in (Cell(**one) for one in old)}
    facts = machine()
    path.parent.mkdir(parents=True, exist_ok=True)
    for cell in todo:
        cells[cell.key] = measured(cell, timeout)
        console.print("  ".join(row(cells[cell.key])), markup=False, soft_wrap=True)
        told = {"schema": 1, "machine": facts, "cells": [asdict(one) for one in cells.values()]}
        path.write_text(json.dumps(told, indent=2) + "\n")
    console.print(table(list(cells.values())))
    if picture is not None:
        figure(list(cells.values())).savefig(picture, dpi=150)
    console.print(f"written to {path}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(command)
