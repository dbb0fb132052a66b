"""KAFAL's curves: accuracy against labels, by local update and sampler.

``python -m fedkd.experiments.reproduce.kafal_curves`` runs `kafal_curves_plan` on MNIST and
Fashion-MNIST, and what is changed to find out about balanced softmax; ``--data`` names one data
set, and is how CIFAR-10 is run. Every finished run is a row of ``--rows FILE``, with the accuracy
after each cycle. Called again, it runs only what is missing there; ``--plan`` says what that is.
``--quick`` is one seed of MNIST. `kafal_curves_page` makes the page.
"""

from pathlib import Path
from typing import Annotated

import typer

from ...config import RunConfig
from ...config.overrides import compose
from ...errors import ConfigError
from .cells import Row, course
from .claims import listed
from .kafal_curves_plan import DATA, SEEDS, SMALL, curves, overrides, wanted
from .kept import plainly
from .tables import filled

ROWS = Path("docs/rows/kafal_curves.csv")


def config(one: Row) -> RunConfig:
    """Return what a cell is run with."""
    return compose(_overrides(one))


def _overrides(one: Row) -> list[str]:
    return [*overrides(one), "device=cpu"]


def measured(one: Row) -> Row | None:
    """Run one; say so if it fails, and leave it."""
    found = course(_overrides(one))
    if found is None:
        return None
    summary, rounds, seconds = found
    rows = rounds.to_pylist()
    after = [row for row in rows if row["alma_global"] is not None]
    return {
        "overall": round(summary["alma_global"]["last"], 6),
        "accuracies": listed([row["alma_global"] for row in after]),
        "labels": " ".join(str(row["labels"]) for row in after),
        "absent": listed([row["absent"] for row in rows if row["absent"] is not None]),
        "cpu_seconds": round(seconds, 2),
        "digest": summary["digest"][:16],
    }


def planned(data: str | None, seeds: int, quick: bool) -> list[Row]:
    """Return the runs that are asked for.

    Raises
    ------
    ConfigError
        If there is no such data set.

    Examples
    --------
    >>> len(planned(None, 3, True)), len(planned("fashion_mnist", 3, False))
    (8, 24)
    """
    if data is not None and data not in DATA:
        raise ConfigError("--data", data, "no such data set", DATA)
    names = tuple(SMALL) if data is None else (data,)
    return curves(names[0], [0]) if quick else wanted(names, seeds)


@plainly
def command(
    *,
    rows: Annotated[Path, typer.Option(help="CSV file, a row a run.")] = ROWS,
    data: Annotated[str | None, typer.Option(help="Only this; cifar10 is run so alone.")] = None,
    seeds: Annotated[int, typer.Option(min=1)] = SEEDS,
    quick: Annotated[bool, typer.Option("--quick", help="One seed of one data set.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Run nothing; say what is left.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
) -> None:
    """Run what is missing; keep every finished run."""
    cells = planned(data, seeds, quick)
    filled(rows, cells, measured, config, jobs, plan)


if __name__ == "__main__":
    typer.run(command)
