"""Every fusion method under the same conditions: one ranked table.

``python -m fedkd.experiments.reproduce.fusion_table --out DIR`` runs ``experiment=fusion_mnist``
with every shipped strategy, at two degrees of label skew and for several seeds, and writes
``fusion_table.parquet`` (a row a run) and ``fusion_table.md``. Called again with the same DIR, it
runs only what is missing there, ``--jobs`` runs at a time.

Methods have their default parameters and the same client training; none is tuned. Where a row has
settings of its own, or shows an artefact of a default, a footnote says so. It shows how methods
behave in one small setting, not which paper is right.
"""

from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.filesize import decimal

from ...config.overrides import compose
from ...engine.cluster import cores
from ...errors import FedkdError
from ...plugins.table import SEAMS
from ...run.runner import run
from .cells import Row, fill, missing, saved

ALPHAS = (0.1, 1.0)
METRICS = ("alma_local", "alma_global")

OTHERWISE = ("kafal", "kafal_soft", "kafal_student", "fedbn")
"""Strategies not under the same conditions: with a part of the labels only, with another model."""


SETTINGS: dict[str, tuple[str, ...]] = {
    "scarlet": ("strategy.duration=2",),
    "knfu, logits": ("strategy.exchange=logits", "strategy.beta=1"),
}
"""Overrides of rows, by their names: a strategy's, and after a comma what is special."""

NOTES = {
    "scarlet": "`strategy.duration=2`: over ten rounds of the whole transfer set, the published "
    "duration of 50 would keep the teacher of round 1.",
    "knfu, logits": "`strategy.exchange=logits strategy.beta=1`: ours; the published form mixes "
    "soft labels, with beta 10.",
    "fedgems": "May look at the transfer set's labels.",
    "ktpfl": "Without T² in its loss, as in the official code.",
    "dafkd": "Without T² in its loss: that belongs to the paper's learning rate of 1e-5.",
    "fedbabu": "What is measured is fine-tuned for five epochs, as officially.",
    "fedhkd": "Its noise has a standard deviation of 2, as in the official code.",
}
"""Footnotes of rows."""


def names() -> list[str]:
    """Return the names of all rows."""
    strategies = [name for name in SEAMS["strategies"].shipped() if name not in OTHERWISE]
    return sorted({*strategies, *SETTINGS})


def cells(seeds: int) -> list[Row]:
    """Return what identifies each run: also by its settings, so that others are run anew."""
    every = product(range(seeds), ALPHAS, names())
    own = {name: " ".join(SETTINGS.get(name, ())) for name in names()}
    return [
        {"seed": seed, "alpha": alpha, "strategy": name, "settings": own[name]}
        for seed, alpha, name in every
    ]


def overrides(cell: Row) -> list[str]:
    """Return what a cell is run with."""
    name = cell["strategy"].partition(",")[0]
    method = SEAMS["strategies"].shipped()[name]
    return [
        "experiment=fusion_mnist",
        f"strategy={name}",
        *(f"{key}={cell[column]}" for key, column in KEYS.items()),
        f"transfer.labelled={method.needs_labels}".lower(),
        *SETTINGS.get(cell["strategy"], ()),
    ]


def measured(cell: Row) -> Row:
    """Run one."""
    summary = run(compose(overrides(cell)), report=False).summary
    return {
        **{name: summary[name]["last"] for name in METRICS},
        "bytes": summary["bytes_up"] + summary["bytes_down"],
        "seconds": summary["seconds"]["total"],
        "digest": summary["digest"],
    }


KEYS = {"data.alpha": "alpha", "seed": "seed"}
"""Configuration keys, and the parts of a cell that set them."""


def ranked(rows: list[Row]) -> list[tuple[str, float]]:
    """Return the strategies with the mean of their four accuracies, best first."""
    means = {
        name: float(np.mean([row[m] for row in rows if row["strategy"] == name for m in METRICS]))
        for name in sorted({row["strategy"] for row in rows})
    }
    return sorted(means.items(), key=lambda item: -item[1])


def markdown(rows: list[Row]) -> str:
    """Return the table as Markdown, best mean of the four accuracies first, and its footnotes."""
    notes: list[str] = []
    heads = [f"{m.removeprefix('alma_')}, alpha {a:g}" for a in ALPHAS for m in METRICS]
    lines = [["", "strategy", *heads, "mean", "payload"]]
    lines += [["---:", "---", *["---:"] * (len(heads) + 2)]]
    for rank, (name, mean) in enumerate(ranked(rows), start=1):
        own = [row for row in rows if row["strategy"] == name]
        numbers = [
            _spread([row[m] for row in own if row["alpha"] == a]) for a in ALPHAS for m in METRICS
        ]
        payload = decimal(round(np.mean([row["bytes"] for row in own])))
        mark = ""
        if name in NOTES:
            notes.append(NOTES[name])
            mark = f" <sup>{len(notes)}</sup>"
        lines.append([str(rank), name + mark, *numbers, f"{100 * mean:.1f}", payload])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + "".join(f"\n{n}. {note}" for n, note in enumerate(notes, start=1)) + "\n"


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
    rows = [row for row in saved(path) if any(cell.items() <= row.items() for cell in wanted)]
    title = (
        "ALMA in % after the last round, MNIST, 20 clients (mean ± std over "
        f"{seeds} seeds); payload of a whole run\n\n"
    )
    (out / "fusion_table.md").write_text(title + markdown(rows))
    console.print(f"\n{title}{markdown(rows)}\nwritten to {out}")


if __name__ == "__main__":
    typer.run(command)
