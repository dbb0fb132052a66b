"""Every fusion method under the same conditions: one ranked table.

``python -m fedkd.experiments.reproduce.fusion_table --out DIR`` runs ``experiment=fusion_mnist``
with every shipped strategy, at two degrees of label skew and for several seeds, and writes
``fusion_table.parquet`` (a row a run) and ``fusion_table.md``. Called again with the same DIR, it
runs only what is missing there.

All methods have their default parameters and the same client training; none is tuned. It shows how
they behave in one small setting, not which paper is right.
"""

from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.filesize import decimal

from ...engine.cluster import cores
from ...errors import FedkdError
from ...overrides import compose
from ...plugins import available
from ...protocol import Strategy
from ...runner import run
from .cells import Row, fill, missing, saved

ALPHAS = (0.1, 1.0)
METRICS = ("alma_local", "alma_global")

OTHERWISE = ("kafal", "kafal_soft", "kafal_student")
"""Strategies that learn from a part of the labels only: not the same conditions."""


def cells(seeds: int) -> list[Row]:
    """Return what identifies each run."""
    names = [name for name in available("strategies", Strategy) if name not in OTHERWISE]
    every = product(range(seeds), ALPHAS, names)
    return [{"seed": seed, "alpha": alpha, "strategy": name} for seed, alpha, name in every]


def measured(cell: Row) -> Row:
    """Run one."""
    method = available("strategies", Strategy)[cell["strategy"]]
    overrides = [
        "experiment=fusion_mnist",
        *(f"{key}={cell[name]}" for key, name in KEYS.items()),
        f"transfer.labelled={method.needs_labels}".lower(),
    ]
    summary = run(compose(overrides)).summary
    return {
        **{name: summary[name]["last"] for name in METRICS},
        "bytes": summary["bytes_up"] + summary["bytes_down"],
        "seconds": summary["seconds"]["total"],
        "digest": summary["digest"],
    }


KEYS = {"strategy": "strategy", "data.alpha": "alpha", "seed": "seed"}
"""Configuration keys, and the parts of a cell that set them."""


def ranked(rows: list[Row]) -> list[tuple[str, float]]:
    """Return the strategies with the mean of their four accuracies, best first."""
    names = sorted({row["strategy"] for row in rows})
    means = {
        name: float(np.mean([row[m] for row in rows if row["strategy"] == name for m in METRICS]))
        for name in names
    }
    return sorted(means.items(), key=lambda item: -item[1])


def markdown(rows: list[Row]) -> str:
    """Return the table as Markdown, best mean of the four accuracies first."""
    heads = [f"{m.removeprefix('alma_')}, alpha {a:g}" for a in ALPHAS for m in METRICS]
    lines = [["", "strategy", *heads, "mean", "payload", "seconds"]]
    lines += [["---:", "---", *["---:"] * (len(heads) + 3)]]
    for rank, (name, mean) in enumerate(ranked(rows), start=1):
        own = [row for row in rows if row["strategy"] == name]
        numbers = [
            _spread([row[m] for row in own if row["alpha"] == a]) for a in ALPHAS for m in METRICS
        ]
        payload = decimal(round(np.mean([row["bytes"] for row in own])))
        seconds = f"{np.mean([row['seconds'] for row in own]):.1f}"
        lines.append([str(rank), name, *numbers, f"{100 * mean:.1f}", payload, seconds])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _spread(values: list[float]) -> str:
    """Return mean and sample standard deviation over seeds, in percent.

    Examples
    --------
    >>> _spread([0.5, 0.7]), _spread([0.5])
    ('60.0 ± 14.1', '50.0')
    """
    mean = f"{100 * np.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * np.std(values, ddof=1):.1f}"


def command(
    *,
    out: Path = Path("runs/fusion_table"),
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = cores(),
) -> None:
    """Run every method; write a ranked table."""
    console, wanted = Console(highlight=False), cells(seeds)
    path = out / "fusion_table.parquet"
    try:
        for rows in fill(path, wanted, measured, jobs):
            last, left = rows[-1], len(missing(wanted, rows))
            name = f"{last['strategy']}, alpha {last['alpha']:g}, seed {last['seed']}"
            numbers = "  ".join(f"{last[m]:.3f}" for m in METRICS)
            console.print(f"{left:3} left  {name:36} {numbers}  {last['seconds']:.1f} s")
    except FedkdError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    rows = [row for row in saved(path) if row["seed"] < seeds]
    title = (
        "ALMA in % after the last round, MNIST, 20 clients (mean ± std over "
        f"{seeds} seeds); payload and seconds of a whole run\n\n"
    )
    (out / "fusion_table.md").write_text(title + markdown(rows))
    console.print(f"\n{title}{markdown(rows)}\nwritten to {out}")


if __name__ == "__main__":
    typer.run(command)
