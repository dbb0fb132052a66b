"""``fedkd compare``: runs in one table and one report."""

from pathlib import Path
from typing import Annotated

import typer

from ..terminal import terminal

EXAMPLES = (
    "fedkd compare runs/sweep",
    "fedkd compare runs/a runs/b --out compared.html",
    "fedkd compare runs/sweep --by strategy --metric alma_local --baseline fedmd",
    "fedkd compare runs/sweep --by strategy --over data.alpha --baseline fedmd --out table.tex",
)


def command(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", show_default=False)],
    by: Annotated[
        str | None, typer.Option(metavar="KEY,...", help="What is compared; else all that differs.")
    ] = None,
    over: Annotated[
        str | None, typer.Option(metavar="KEY,...", help="What makes a setting, to rank over.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which number; score_local by default.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="VALUE", help="What the others are compared to.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="NAME", help="t, the default, or permutation; paired.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A report .html; a table .md, .tex, .csv, .json; ranks .svg, .pdf, .png."
        ),
    ] = None,
) -> None:
    """Compare runs in one table and one report; runs that differ only in their seed are averaged.

    RUN_DIR is a run directory, or a folder of them such as that of a sweep. With --by, --metric or
    --baseline: means and 95 % intervals over seeds; differences to the baseline, paired by seed,
    with a test, Holm's correction and effect sizes; ranks over the settings of --over. The metric
    is any number of summary.json (alma_global, seconds.total) or column of rounds.parquet.
    """
    from ..comparing import show

    asked = {"by": by, "over": over, "metric": metric, "baseline": baseline, "test": test}
    show(run_dirs, out, asked, terminal())
