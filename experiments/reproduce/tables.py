"""What the scripts of claims share: their options, how a cell is run, the frame of their pages."""

import time
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from ...config import RunConfig
from ...config.overrides import merge
from ...errors import FedkdError
from ...run.result import RunResult
from .cells import Row, fill, missing, saved
from .claims import Claim, head, named
from .kept import plainly
from .manifest import Configured, freeze, said

Table = Annotated[Path, typer.Option(help="CSV file, a row a run.")]
Seeds = Annotated[int, typer.Option(min=1)]
Jobs = Annotated[int, typer.Option(min=1, help="Runs at a time.")]
Plan = Annotated[bool, typer.Option("--plan", help="Run nothing; say what is left.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small version, without a verdict.")]

BARE: dict[str, Any] = {
    "engine": "inline",
    "device": "cpu",
    "transfer": {"data": "noise", "size": 1},  # nobody looks at it
    "checkpoint": {"every": None},
}
"""Settings of runs from Python that have no transfer samples and keep nothing."""


def configured(settings: dict[str, Any], data: str = "mnist") -> RunConfig:
    """Return the configuration of what is run with settings, and with data dealt of a set.

    Examples
    --------
    >>> configured({"rounds": 7, "data.test": "local"}).data.name
    'mnist'
    """
    return merge(RunConfig(), **({} if "data" in settings else {"data.name": data}) | settings)


def measuring(run: Callable[[Row], tuple[RunResult, Row]]) -> Callable[[Row], Row | None]:
    """Make of what runs a cell what says so if that is refused or fails, and leaves it."""

    @wraps(run)
    def measured(cell: Row) -> Row | None:
        began = time.process_time()
        try:
            result, found = run(cell)
        except FedkdError as error:
            typer.echo(f"left out: {cell}: {error}", err=True)
            return None
        return found | {
            "bytes_up": result.summary["bytes_up"],
            "cpu_seconds": round(time.process_time() - began, 1),
            "digest": result.summary["digest"][:16],
        }

    return measured


def filled(
    rows: Path,
    wanted: list[Row],
    measure: Callable[[Row], Row | None],
    config: Configured,
    jobs: int,
    plan: bool,
) -> None:
    """Freeze and run what is missing of the wanted cells, and say so; or only say what that is."""
    console, left = Console(highlight=False), missing(wanted, saved(rows))
    if plan:
        for cell in left:
            console.print(named(cell), soft_wrap=True)
        console.print(f"{len(left)} of {len(wanted)} runs are missing")
        return
    marked = freeze(rows, left, config)
    for kept in fill(rows, wanted, measure, jobs, marked):
        count, seconds = len(missing(wanted, kept)), kept[-1]["cpu_seconds"]
        line = f"{count:4} left  {named({k: kept[-1][k] for k in wanted[0]})}  {seconds:.0f} s"
        console.print(line, soft_wrap=True)
    if missing(wanted, saved(rows)):
        raise typer.Exit(1)


def asked(
    table: Path,
    cells: Callable[[int, bool], list[Row]],
    measure: Callable[[Row], Row | None],
    config: Configured,
    usual: int = 3,
) -> Callable[..., None]:
    """Return the command of a script: it runs what is missing of the cells of (seeds, quick).

    `usual` is how many seeds are run where nobody asks for others.
    """

    @plainly
    def command(
        *,
        rows: Table = table,
        seeds: Seeds = usual,
        jobs: Jobs = 1,
        plan: Plan = False,
        quick: Quick = False,
    ) -> None:
        """Run what is missing; keep every finished run."""
        filled(rows, cells(seeds, quick), measure, config, jobs, plan)

    return command


def chosen(rows: list[Row], **cell: object) -> list[Row]:
    """Return the rows of a cell, by seed.

    Examples
    --------
    >>> chosen([{"seed": 1, "ways": 3}, {"seed": 0, "ways": 3}, {"seed": 0, "ways": 4}], ways=3)
    [{'seed': 0, 'ways': 3}, {'seed': 1, 'ways': 3}]
    """
    return sorted((r for r in rows if cell.items() <= r.items()), key=lambda r: int(r["seed"]))


def seconds(rows: list[Row]) -> str:
    """Return the mean of the CPU seconds of runs, "-" for none."""
    return f"{np.mean([row['cpu_seconds'] for row in rows]):.0f}" if rows else "-"


def framed(claim: Claim, rows: list[Row], wanted: list[Row], parts: list[str]) -> str:
    """Return a page: what was claimed, what is left, what was frozen, and the parts."""
    left, rounds = missing(wanted, rows), wanted[0]["rounds"]
    counted = f"Of {len(wanted)} runs of {rounds} rounds {len(left)} are left."
    verdict = f"## Verdict\n\n{counted} {said(claim.name, rows)}\n"
    return "\n".join([head(claim), verdict, *parts])


def opening(claim: Claim, rows: list[Row], todo: str) -> list[str]:
    """Return how a page begins: what was claimed, what is still to be run, and what was frozen."""
    return [head(claim), "## Verdict\n", todo, f"{said(claim.name, rows)}\n"]


def versions(rows: list[Row], full: int, quick: int) -> Iterator[tuple[str, bool, list[Row]]]:
    """Yield the whole and the short version, if run: a heading, whether it is whole, its rows."""
    for rounds, title in ((full, "As published"), (quick, "The short version")):
        if own := chosen(rows, rounds=rounds):
            yield f"## {title}: {rounds} rounds\n", rounds == full, own


def undone(wanted: list[Row], rows: list[Row]) -> str:
    """Return what a page says of what is not run yet, "" when all is.

    Examples
    --------
    >>> undone([{"seed": 0}, {"seed": 1}], [{"seed": 0}]).strip()
    '**Not done yet:** 1 of 2 runs are missing.'
    """
    left = len(missing(wanted, rows))
    return f"**Not done yet:** {left} of {len(wanted)} runs are missing.\n" if left else ""
