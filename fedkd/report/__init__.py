"""Read run directories, compare them, and render a page."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from ..config.saved import readable
from .belonging import belonging
from .page import render
from .printing import print_table
from .reader import Run, find_runs, find_unstarted, load_runs
from .remarks import without_rounds
from .statistics import group_runs

__all__ = ["Run", "find_runs", "group_runs", "load_runs", "overview", "render"]


def overview(
    paths: str | Path | Iterable[str | Path], console: Console, out: str | Path | None = None
) -> Path:
    """Print the comparison table of the runs in `paths` and write their report.

    Parameters
    ----------
    paths : path or iterable of paths
        Run directories, or folders of them such as a sweep.
    console : rich.console.Console
        Where to print.
    out : path, optional
        The report's path; see `render`.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ConfigError
        If a path holds no run, or a run cannot be read.
    """
    runs = load_runs(find_runs(paths))
    with readable("run", runs[0].path, "cannot be compared"):
        more = [*without_rounds(find_unstarted(paths)), *belonging(runs)]
        print_table(group_runs(runs), console, more)
    return render(runs, out)
