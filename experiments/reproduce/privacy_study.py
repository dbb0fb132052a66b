"""What shared knowledge leaks, what hides it, and what hiding costs.

``python -m fedkd.experiments.reproduce.privacy_study --out DIR`` runs ``experiment=privacy_study``
for every strategy, mechanism, epsilon and seed, attacks every run, and writes ``report.html`` (with
the figure and the table), ``privacy_study.md`` and ``.png``, ``privacy_study.parquet`` (a row a
run) and the runs themselves. Called again with the same DIR, it does only what is missing there.

Chosen beforehand, nothing tuned: membership by LiRA on what a client uploads, or by the loss with
``--shadows 0``; label shares by the mean uploaded soft label. The clients overfit on purpose.
"""

import shutil
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...config.overrides import compose
from ...engine.cluster import cores
from ...leakage import attack
from ...report import group_runs, load_runs, markdown, render
from ...report.drawing.tradeoff import table, tradeoff_figure
from ...run.runner import run
from .cells import Row, fill, missing
from .kept import plainly

STRATEGIES = {"fedmd": ("strategy.exchange=soft_labels",), "knfu": ()}
"""With the parameters that differ from the defaults."""

EPSILONS = (1.0, 8.0, 64.0, 512.0)
"""The last one is no guarantee worth its name: it shows where the noise stops to matter."""

FORMAL, OTHERS = ("gaussian", "dp_sgd"), ("none", "label_only")
"""Mechanisms with an epsilon, and without."""


def cells(seeds: int, shadows: int) -> list[Row]:
    """Return what identifies each run and its attack."""
    protections = [*product(OTHERS, (None,)), *product(FORMAL, EPSILONS)]
    return [
        {"seed": seed, "strategy": strategy, "privacy": name, "epsilon": epsilon}
        | {"shadows": shadows}
        for seed, strategy, (name, epsilon) in product(range(seeds), STRATEGIES, protections)
    ]


def name(cell: Row) -> str:
    """Return the name of a run's directory.

    Examples
    --------
    >>> name({"seed": 0, "strategy": "knfu", "privacy": "gaussian", "epsilon": 8.0})
    'knfu-gaussian-8-seed-0'
    """
    epsilon = [] if cell["epsilon"] is None else [f"{cell['epsilon']:g}"]
    return "-".join([cell["strategy"], cell["privacy"], *epsilon, f"seed-{cell['seed']}"])


def overrides(cell: Row) -> list[str]:
    """Return what to run for one cell."""
    epsilon = [] if cell["epsilon"] is None else [f"privacy.epsilon={cell['epsilon']}"]
    return [
        "experiment=privacy_study",
        f"strategy={cell['strategy']}",
        *STRATEGIES[cell["strategy"]],
        f"privacy={cell['privacy']}",
        *epsilon,
        f"seed={cell['seed']}",
    ]


def measured(cell: Row, out: Path) -> Row:
    """Make a run and attack it."""
    folder = out / "runs" / name(cell)
    shutil.rmtree(folder, ignore_errors=True)  # an earlier call was interrupted in it
    result = run(compose([*overrides(cell), f"run_dir={folder}"]), report=False)
    shadows = cell["shadows"]
    members = attack(result, "membership", shadows=shadows).results
    labels = attack(result, "label_distribution").results
    return {
        "accuracy": result.summary["alma_global"]["last"],
        "auc": members["knowledge / lira" if shadows else "knowledge / loss"]["auc"],
        "kl": labels["mean soft label"]["kl"],
        "seconds": result.summary["seconds"]["total"],
        "digest": result.summary["digest"],
    }


def draw(folders: list[Path], out: Path) -> str:
    """Write the report, the table and the figure; return the table as Markdown."""
    runs = load_runs(folders)
    render(runs, out / "report.html")
    tradeoff_figure(runs).savefig(out / "privacy_study.png", dpi=150)
    text = markdown.table(table(group_runs(runs)))
    (out / "privacy_study.md").write_text(text)
    return text


@plainly
def command(
    *,
    out: Path = Path("runs/privacy_study"),
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    shadows: Annotated[int, typer.Option(help="Shadow models a client: 0, or 2 and more.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = cores(),
) -> None:
    """Run and attack every strategy under every protection; write a report."""
    if shadows not in (0, *range(2, 1000)):
        raise typer.BadParameter("must be 0, or 2 and more", param_hint="--shadows")
    console, wanted = Console(highlight=False), cells(seeds, shadows)
    measure = partial(measured, out=out)
    for rows in fill(out / "privacy_study.parquet", wanted, measure, jobs):
        last, left = rows[-1], len(missing(wanted, rows))
        numbers = f"{last['accuracy']:.1%}  AUC {last['auc']:.3f}  KL {last['kl']:.2f}"
        console.print(f"{left:3} left  {name(last):28} {numbers}")
    text = draw([out / "runs" / name(cell) for cell in wanted], out)
    console.print(f"\n{text}\nwritten to {out}")


if __name__ == "__main__":
    typer.run(command)
