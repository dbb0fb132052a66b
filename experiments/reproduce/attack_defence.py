"""The attack x defence table: mean accuracy of the honest clients, for every pair.

``python -m fedkd.experiments.reproduce.attack_defence --out DIR`` runs the preset
``experiment=attack_defence`` for every pair and writes ``attack_defence.parquet`` (a row a run),
``.md``, ``.png`` and ``.svg``. Called again with the same DIR, it runs only what is missing there.

It asks the questions of Roux, Zimmer, Pokutta, "On the Byzantine-Resilience of Distillation-Based
Federated Learning", ICLR 2025, on a small scale; its numbers are not comparable with the paper's
(ResNet18 on CIFAR, a server model, omniscient attackers).
"""

from enum import Enum
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console

from ...config.overrides import compose
from ...engine.cluster import shared_ray
from ...report.drawing.style import canvas, styled
from ...report.markdown import table
from ...run.result import RunResult
from ...run.runner import run
from .cells import Row, ends, fill, honest, missing, saved
from .kept import plainly

ATTACKS = (
    *("none", "label_flip", "lma", "cpa", "hips"),
    *("fdla", "random_one_hot", "free_rider"),
)
DEFENCES = {
    "mean": ("fedmd", "strategy.exchange=soft_labels"),
    "median": ("coordinate_median",),
    "trimmed": ("trimmed_mean", "strategy.trim=0.3"),
    "geometric": ("geometric_median",),
    "filter": ("spectral_filter",),
    "cronus": ("cronus",),
    "expguard": ("expguard",),
}
"""Short name, and the strategy with its parameters."""

FRACTION = 0.3
"""Share of hostile clients."""


class Data(Enum):
    """Data sets, with what must differ from the preset."""

    mnist = "mnist"
    digits = "digits"

    @property
    def overrides(self) -> list[str]:
        """Return the overrides of the preset."""
        small = ["data.samples_per_client=40", "transfer.size=200"]
        return [f"data={self.value}", *(small if self is Data.digits else [])]


def overrides(attack: str, defence: str, seed: int, data: Data, engine: str) -> list[str]:
    """Return what to run for one cell.

    Examples
    --------
    >>> overrides("lma", "cronus", 0, Data.mnist, "ray")[1:4]
    ['strategy=cronus', 'attack=lma', 'attack.fraction=0.3']
    """
    strategy, *parameters = DEFENCES[defence]
    return [
        "experiment=attack_defence",
        f"strategy={strategy}",
        f"attack={attack}",
        f"attack.fraction={FRACTION}",
        *parameters,
        *data.overrides,
        f"seed={seed}",
        f"engine={engine}",
    ]


def honest_accuracy(result: RunResult) -> float:
    """Return the mean accuracy of the honest clients' final models on the whole test split.

    Without an attack these are all clients.
    """
    found = ends(result)
    return float(np.mean(honest(found["global"], found["hostile"])))


def cells(seeds: int, data: Data) -> list[Row]:
    """Return what identifies each cell."""
    pairs = product(range(seeds), ATTACKS, DEFENCES)
    names = ("data", "seed", "attack", "defence")
    return [dict(zip(names, (data.value, *pair), strict=True)) for pair in pairs]


def measured(cell: Row, engine: str) -> Row:
    """Run a cell."""
    data, seed = Data(cell["data"]), cell["seed"]
    result = run(compose(overrides(cell["attack"], cell["defence"], seed, data, engine)))
    return {
        "accuracy": honest_accuracy(result),
        "alma_global": result.summary["alma_global"]["last"],
        "rejected": result.summary["rejected"],
        "seconds": result.summary["seconds"]["total"],
        "digest": result.summary["digest"],
    }


def grid(rows: list[Row]) -> np.ndarray:
    """Return the accuracies in percent, averaged over seeds, ``[attacks, defences]``."""
    cells = [
        [r["accuracy"] for r in rows if (r["attack"], r["defence"]) == pair]
        for pair in product(ATTACKS, DEFENCES)
    ]
    means = [100 * np.mean(cell) for cell in cells]
    return np.array(means).reshape(len(ATTACKS), len(DEFENCES))


def markdown(rows: list[Row]) -> str:
    """Return the table as Markdown."""
    lines = [
        [attack, *(f"{value:.1f}" for value in values)]
        for attack, values in zip(ATTACKS, grid(rows), strict=True)
    ]
    return table([["attack", *DEFENCES], *lines])


@styled
def heat_map(rows: list[Row], title: str) -> Figure:
    """Draw the table."""
    values = grid(rows)
    figure, (axes,) = canvas(7.0, 4.2)
    axes.imshow(values, cmap="viridis", aspect="auto")
    middle = (values.min() + values.max()) / 2
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value < middle else "black"
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(DEFENCES)), DEFENCES)
    axes.set_yticks(range(len(ATTACKS)), ATTACKS)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10)
    return figure


def draw(rows: list[Row], out: Path, title: str) -> None:
    """Write the table as text and as a figure."""
    (out / "attack_defence.md").write_text(f"{title}\n\n{markdown(rows)}")
    figure = heat_map(rows, title)
    for suffix in ("png", "svg"):
        figure.savefig(out / f"attack_defence.{suffix}", dpi=150)


@plainly
def command(
    *,
    out: Path = Path("runs/attack_defence"),
    seeds: Annotated[int, typer.Option(min=1)] = 1,
    data: Data = Data.mnist,
    engine: str = "ray",
) -> None:
    """Run every attack against every defence; write a table and a heat map."""
    console, wanted = Console(highlight=False), cells(seeds, data)
    path = out / "attack_defence.parquet"
    with shared_ray(compose([f"engine={engine}"]).engine):
        for rows in fill(path, wanted, lambda cell: measured(cell, engine)):
            name = f"{rows[-1]['attack']} x {rows[-1]['defence']}"
            left = len(missing(wanted, rows))
            console.print(f"{left:3} left  {name:28} {rows[-1]['accuracy']:.1%}")
    rows = [row for row in saved(path) if row["data"] == data.value and row["seed"] < seeds]
    runs = "1 seed" if seeds == 1 else f"mean of {seeds} seeds"
    title = f"Accuracy of honest clients in %, {data.value}, {FRACTION:.0%} hostile, {runs}"
    draw(rows, out, title)
    console.print(f"\n{markdown(rows)}\nwritten to {out}")


if __name__ == "__main__":
    typer.run(command)
