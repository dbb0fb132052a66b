"""The command lines of a claim: one that runs what is missing, one that writes the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from .cells import Row, missing, saved
from .claims import filled


def running(
    kept: Path,
    cells: Callable[[int], list[Row]],
    quick: Callable[[], list[Row]],
    measured: Callable[[Row], Row | None],
) -> Callable[..., None]:
    """Return a command that runs what is missing of a claim.

    Parameters
    ----------
    kept : Path
        The rows, unless others are asked for.
    cells : callable
        Returns what identifies each run, for so many seeds.
    quick : callable
        Returns those of a tenth.
    measured : callable
        A function of a module; see `fill`.
    """

    def command(
        *,
        rows: Annotated[Path, typer.Option(help="CSV file, a row a run.")] = kept,
        seeds: Annotated[int, typer.Option(min=1)] = 3,
        quickly: Annotated[bool, typer.Option("--quick", help="A tenth of all runs.")] = False,
        plan: Annotated[
            bool, typer.Option("--plan", help="Run nothing; say what is left.")
        ] = False,
        jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
    ) -> None:
        """Run what is missing; keep every finished run."""
        filled(rows, quick() if quickly else cells(seeds), measured, jobs, plan)

    return command


def writing(
    page: Callable[..., str], to: Path, kept: Path, others: Path | None = None
) -> Callable[..., None]:
    """Return a command that writes a claim's page.

    Parameters
    ----------
    page : callable
        Returns it for the rows; where there are others, for these too.
    to, kept : Path
        The page and the rows, unless others are asked for.
    others : Path or None
        Rows of another claim that it needs.
    """

    def command(
        *,
        rows: Annotated[Path, typer.Option(exists=True, help="What was run.")] = kept,
        out: Annotated[Path, typer.Option(help="The page.")] = to,
    ) -> None:
        """Write the page."""
        more = [] if others is None else [saved(others)]
        out.write_text(page(saved(rows), *more), encoding="utf-8")

    return command


def undone(wanted: list[Row], rows: list[Row]) -> str:
    """Return what a page says of what is not run yet, "" when all is.

    Examples
    --------
    >>> undone([{"seed": 0}, {"seed": 1}], [{"seed": 0}]).strip()
    '**Not done yet:** 1 of 2 runs are missing.'
    """
    left = len(missing(wanted, rows))
    return f"**Not done yet:** {left} of {len(wanted)} runs are missing.\n" if left else ""
