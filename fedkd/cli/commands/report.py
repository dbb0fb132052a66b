"""``fedkd report``: a run's report, anew."""

from pathlib import Path
from typing import Annotated

import typer

from ..terminal import terminal

EXAMPLES = (
    "fedkd report runs/a",
    "fedkd report runs/a --out figure.html",
)


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR")],
    out: Annotated[
        Path | None, typer.Option(help="Where it goes; by default RUN_DIR/report.html.")
    ] = None,
) -> None:
    """Write a run's report anew: one HTML file that needs no other."""
    from ...report import render

    terminal().print(render([run_dir], out), soft_wrap=True)
