"""``fedkd run -m``, a study file, ``resume=STUDY``: a study is run, then all its runs compared."""

from pathlib import Path
from shlex import quote

import typer
from rich.console import Console

from ..callbacks.interrupts import Interrupts
from ..config.definition import Definition
from ..engine import shutdown
from ..run.study.results import Results
from ..run.study.running import run_study
from ..run.study.telling import ConsoleTeller
from ..rundir.study import RECORD
from .terminal import print_facts


def study(
    definition: Definition, folder: Path, console: Console, retry: bool, freeze: bool
) -> None:
    """Run what is left of a study, then compare all its runs.

    A run that fails does not stop the others; the command then ends with its exit code.

    Parameters
    ----------
    definition : Definition
        What it is.
    folder : Path
        Where it is, or will be.
    console : Console
        Where the table goes.
    retry, freeze : bool
        As `run_study` takes them.
    """
    with Interrupts() as interrupts:
        try:
            results = run_study(definition, folder, ConsoleTeller(), interrupts, retry, freeze)
        except KeyboardInterrupt:
            if (folder / RECORD).is_file():
                typer.echo(f"fedkd run {quote(f'resume={folder}')} goes on with it", err=True)
            raise
        finally:
            shutdown()
    tell(results, folder, console)


def tell(results: Results, folder: Path, console: Console) -> None:
    """Compare what has finished, and name what has failed."""
    from ..report import overview

    if finished := results.in_order:
        report = overview(finished, console, folder / "report.html")
        print_facts({"runs": folder, "report": report}, console)
    if not results.failures:
        return
    for name in results.failures:
        typer.echo(f"error: {name}: {results.failure(name)}", err=True)
    count = f"{len(results.failures)} of {len(results.steps)} runs failed"
    resumed = quote(f"resume={folder}")
    again = "" if results.folder is None else f"; fedkd run {resumed} --retry-failed"
    typer.echo(f"error: {count}{again}", err=True)
    raise typer.Exit(max(code for _, code in results.failures.values()))
