"""What ``fedkd compare`` shows: all numbers of some runs, or one with statistics."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ..report import overview
from ..report.comparison import compare
from ..report.page import common
from ..report.printing import print_comparison
from ..report.writing import known_ending
from .terminal import print_facts


def show(
    run_dirs: Sequence[Path], out: Path | None, asked: dict[str, str | None], console: Console
) -> None:
    """Print the comparison, and write it as the ending of `out` says.

    Parameters
    ----------
    run_dirs : sequence of Path
        Run directories, and folders of them.
    out : Path or None
        Where it goes; by default ``report.html`` in the runs' closest common folder.
    asked : dict
        Arguments of `compare`, None for those that nobody gave.
    console : rich.console.Console
        Where to print.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    page = out is None or known_ending(out) == ".html"
    if page and not given:
        path = overview(run_dirs, console, out)
    else:
        found = compare(run_dirs, **given)
        print_comparison(found, console)
        path = found.save(common(found.runs) / "report.html" if out is None else out)
    print_facts({"report": path}, console)
