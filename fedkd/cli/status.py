"""``fedkd status``: how far a study is, as read from its folder."""

from pathlib import Path

from rich.console import Console

from ..run.study.status import Status
from .commands import print_facts


def show_status(path: Path, console: Console) -> None:
    """Print what has become of the runs of a study.

    Raises
    ------
    ConfigError
        If the folder is no study's.
    """
    status = Status.read(path)
    print_facts(dict(status.facts), console)
    for line in status.lines:
        console.out(line, highlight=False)
