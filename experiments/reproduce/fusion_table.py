"""Every fusion method under the same conditions, as it comes and tuned.

``python -m fedkd.experiments.reproduce.fusion_table`` runs ``experiment=fusion_mnist`` with every
shipped strategy, at two degrees of label skew and for several seeds: with its default parameters,
and as it is best of eight settings (`fusion_settings`), chosen for each skew by the mean of local
and global accuracy. What chooses is a twelfth of MNIST's training split, in the place of the test
split, with a seed of its own; the test split has no part in it. (`data.validation`, a client's own
samples, would choose by local accuracy alone.)

Every finished run is a row of ``--rows FILE``. Called again, it runs only what is missing there.
``--plan`` makes the first run of each method, and says how long all others will take.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...atomic import replacing
from ...data.catalogue import HUB
from ...data.decode import quiet
from ...data.folders import local_folder
from ...data.loading import readable
from ...engine.cluster import cores
from ...errors import ConfigError
from ...plugins.table import SEAMS
from ...strategies.traits import traits
from .cells import Row, fill, numbers, saved, tried
from .fusion_plan import ALPHAS, TEST, VALIDATION, Done, cell, estimate, wanted
from .fusion_settings import method, names, setting
from .kept import plainly

ROWS = Path("docs/rows/fusion.csv")
HELD = Path("runs/fusion_table/held_out")
"""Where MNIST's training split is kept in two parts, one of them in the place of the test split."""

SHARE = 12
"""One of so many training samples is held out."""


def overrides(one: Row) -> list[str]:
    """Return what a cell is run with."""
    cls = SEAMS["strategies"].resolve(method(one["strategy"]))
    return [
        "experiment=fusion_mnist",
        *([f"data={HELD}"] if one["data"] == VALIDATION else []),
        f"strategy={method(one['strategy'])}",
        f"data.alpha={one['alpha']}",
        f"seed={one['seed']}",
        f"transfer.labelled={traits(cls).transfer == 'labelled'}".lower(),
        *(one["settings"].split() if one["settings"] != "-" else ()),
    ]


def measured(one: Row) -> Row | None:
    """Run one; say so if it fails, and leave it; among the settings to choose it is the worst."""
    found = tried(overrides(one))
    if found is None:
        nothing = {"local": 0.0, "overall": 0.0, "bytes": 0, "cpu_seconds": 0.0, "digest": "failed"}
        return nothing if one["data"] == VALIDATION else None
    summary, seconds = found
    return numbers(summary, seconds) | {"bytes": summary["bytes_up"] + summary["bytes_down"]}


def hold_out(folder: Path) -> None:
    """Write MNIST's training split in two parts, if they are not there.

    Raises
    ------
    ConfigError
        If there is no MNIST.
    """
    if (folder / "test.parquet").exists():
        return
    from datasets import load_dataset

    own = local_folder("mnist")
    with quiet(), readable("data", "mnist"):
        every = load_dataset(str(own) if own.is_dir() else HUB["mnist"], split="train")
        folder.mkdir(parents=True, exist_ok=True)
        for name, held in (("train", False), ("test", True)):  # who finds test has both
            rows = [row for row in range(len(every)) if (row % SHARE == 0) == held]
            with replacing(folder / f"{name}.parquet") as temporary:
                every.select(rows).to_parquet(temporary)


def selected(only: str) -> tuple[str, ...]:
    """Return the rows that a list with semicolons names; all for nothing.

    Raises
    ------
    ConfigError
        If a name is none.
    """
    asked = tuple(name.strip() for name in only.split(";")) if only else names()
    for name in asked:
        if name not in names():
            raise ConfigError("--only", name, "no such row", names())
    return asked


def run_missing(path: Path, asked: Sequence[str], jobs: int, console: Console) -> None:
    """Run what is missing, and what that decides, until nothing is left that has not been tried."""
    tried_now: set[str] = set()
    while todo := [one for one in wanted(Done(saved(path)), asked) if str(one) not in tried_now]:
        tried_now |= {str(one) for one in todo}
        report(fill(path, todo, measured, jobs), console)


def report(filled: Iterator[list[Row]], console: Console) -> None:
    """Print a line for each run."""
    for rows in filled:
        last = rows[-1]
        what = f"{last['data']}, alpha {last['alpha']:g}, seed {last['seed']}"
        numbers = f"{last['local']:.3f}  {last['overall']:.3f}  {last['cpu_seconds']:.1f} s"
        name = f"{last['strategy']} {last['settings'].strip('-')}"
        console.print(f"{len(rows):5}  {what:32} {name:44} {numbers}", soft_wrap=True)


@plainly
def command(
    *,
    rows: Annotated[Path, typer.Option(help="CSV file, a row a run.")] = ROWS,
    only: Annotated[str, typer.Option(help="Rows of the table, with semicolons.")] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Run each once, say what is left.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = cores(),
) -> None:
    """Run every method as it comes and tuned; keep every finished run."""
    console = Console(highlight=False)
    asked = selected(only)
    hold_out(HELD)
    if plan:
        first = [cell(TEST, 0, ALPHAS[0], name, setting(name)) for name in asked]
        report(fill(rows, first, measured, jobs), console)
        console.print("\n".join(estimate(Done(saved(rows)), asked, jobs)))
    else:
        run_missing(rows, asked, jobs, console)


if __name__ == "__main__":
    typer.run(command)
