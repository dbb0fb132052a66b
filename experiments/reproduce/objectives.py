"""Every distillation objective under the same conditions: what a client gains by how it learns.

``python -m fedkd.experiments.reproduce.objectives STUDY`` (``mnist``, ``mnist_steps``, ``topics``)
runs every objective in the table of plug-ins that can learn from logits, and every guard around
``kl``: under KnFu and FedMD, at two degrees of label skew, with one architecture or also with two,
for several seeds. Every finished run is a row of ``--rows FILE``. Called again, it runs only what
is missing there, and anew what it was killed in. Seeds come one after the other, so that rows are
balanced always.

KnFu mixes logits with beta 1: in its published form (soft labels, beta 10) it fuses next to nothing
under Dirichlet(0.1), which leaves little to learn well or badly. Nothing is tuned: objectives have
their defaults, and all the same learning rate. Those that learn from labels see the transfer set's.
"""

from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from ...errors import ConfigError
from ...plugins.seam import Seam
from ...plugins.table import SEAMS
from .cells import Row, fill, missing, scored
from .kept import plainly
from .objectives_studies import QUICK, STRATEGIES, STUDIES, Study

QUICK_ROUNDS = 1
"""Rounds of a quick run."""

Name = Literal["mnist", "mnist_steps", "topics"]
"""Of a study."""


def learned() -> list[Row]:
    """Return the ways to learn from a teacher: objective, guard, whether they see labels."""
    rows = [
        {"objective": name, "guard": "none", "labels": _sees_labels(SEAMS["objectives"], name)}
        for name, cls in SEAMS["objectives"].shipped().items()
        if cls.kinds is None or "logits" in cls.kinds
    ]
    for seam in SEAMS.values():
        if seam.key == "guard":
            rows += [
                {"objective": "kl", "guard": name, "labels": _sees_labels(seam, name)}
                for name in seam.shipped()
                if name != "none"
            ]
    return rows


def _sees_labels(seam: Seam, name: str) -> bool:
    """Say whether a plug-in with its defaults asks for the transfer set's labels."""
    return bool(getattr(seam.create({"name": name}), "needs_labels", False))


def label(row: Row) -> str:
    """Return what an objective and its guard are called.

    Examples
    --------
    >>> label({"objective": "kl", "guard": "bsd"}), label({"objective": "kl", "guard": "none"})
    ('kl, bsd', 'kl')
    """
    return row["objective"] if row["guard"] == "none" else f"{row['objective']}, {row['guard']}"


def chosen(only: str) -> list[Row]:
    """Return the ways to learn that a comma list names, by objective or guard; all for nothing.

    Raises
    ------
    ConfigError
        If a name is neither.
    """
    every = learned()
    names = {row["objective"] if row["guard"] == "none" else row["guard"]: row for row in every}
    wanted = only.split(",") if only else list(names)
    for name in wanted:
        if name not in names:
            raise ConfigError("--only", name, "no such objective or guard", names)
    return [names[name] for name in names if name in wanted]


def cells(study: Study, seeds: int, ways: list[Row], *, quick: bool = False) -> list[Row]:
    """Return what identifies each run, seeds outermost."""
    rounds = QUICK_ROUNDS if quick else study.rounds
    return [
        {"seed": seed, "models": models, "alpha": alpha, "strategy": strategy}
        | way
        | {"rounds": rounds}
        for seed, (models, alpha, strategy), way in product(range(seeds), study.settings, ways)
    ]


def overrides(study: Study, cell: Row) -> list[str]:
    """Return what a cell is run with."""
    guard = [] if cell["guard"] == "none" else [f"guard={cell['guard']}"]
    return [
        *study.fixed,
        f"strategy={STRATEGIES[cell['strategy']]}",
        f"objective={cell['objective']}",
        *guard,
        f"transfer.labelled={cell['labels']}".lower(),
        f"model={study.models[cell['models']]}",
        f"data.alpha={cell['alpha']}",
        f"seed={cell['seed']}",
        f"rounds={cell['rounds']}",
        *(QUICK if cell["rounds"] == QUICK_ROUNDS else ()),
    ]


def measured(study: Study, cell: Row) -> Row | None:
    """Run one; say so if it is refused or fails, and leave it."""
    return scored(overrides(study, cell))


@plainly
def command(
    study: Annotated[Name, typer.Argument()],
    *,
    rows: Annotated[Path | None, typer.Option(help="CSV file, a row a run.")] = None,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    only: Annotated[str, typer.Option(help="Objectives and guards, with commas.")] = "",
    quick: Annotated[bool, typer.Option(help="Tiny runs, to see that all works.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
) -> None:
    """Run what is missing; keep every finished run."""
    console = Console(highlight=False)
    wanted = cells(STUDIES[study], seeds, chosen(only), quick=quick)
    run_one = partial(measured, STUDIES[study])
    for kept in fill(rows or STUDIES[study].rows, wanted, run_one, jobs):
        last, left = kept[-1], len(missing(wanted, kept))
        name = f"{label(last)}, {last['strategy']}, {last['models']}, alpha {last['alpha']:g}"
        numbers = f"{last['local']:.3f}  {last['overall']:.3f}  {last['cpu_seconds']:.1f} s"
        console.print(f"{left:4} left  seed {last['seed']}  {name:44} {numbers}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(command)
