"""``fedkd status``: how far a study is."""

from pathlib import Path
from typing import Annotated

import typer

from ..terminal import print_facts, terminal

EXAMPLES = ("fedkd status runs/study",)


def command(
    study: Annotated[Path, typer.Argument(metavar="STUDY")],
) -> None:
    """Say how far a study is: what runs, what has failed, the time left.

    STUDY is its folder; the study may be under way in another terminal.
    """
    from ...run.study.status import Status

    found, console = Status.read(study), terminal()
    print_facts(dict(found.facts), console)
    for line in found.lines:
        console.out(line, highlight=False)
