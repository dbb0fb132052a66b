"""Cells of the benchmark of fusion: what they need, what they took, as a table and a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table

from ...engine.base import BLOCK
from ...engine.waves import BYTES, CLIENTS
from ...report.drawing.style import canvas, legend_below, look, styled

PAIRS = {"knfu": 12, "ktpfl": 36}
"""Bytes for each pair of clients, of the methods that look at pairs."""
PERSONAL = ("knfu", "ktpfl", "comet")


@dataclass(frozen=True)
class Cell:
    """One method at one size, and what it took.

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    clients, samples, classes : int
        The size.
    actors : int or None
        Actors of the Ray engine; None = inline, one process.
    seconds : dict or None
        Of the phases; None if there are no numbers.
    peak, before : int
        Peak memory, and memory before the round, in bytes. Inline it is the process's resident set;
        with actors the proportional set sizes of all processes, looked at every 0.2 s, and
        `before` is 0.
    error : str or None
        Why there are no numbers.
    """

    method: str
    clients: int
    samples: int
    classes: int
    actors: int | None = None
    seconds: dict[str, float] | None = None
    peak: int = 0
    before: int = 0
    error: str | None = None

    @property
    def input(self) -> int:
        """Bytes of the stack."""
        return 4 * self.clients * self.samples * self.classes

    @property
    def key(self) -> tuple[Any, ...]:
        """What it is, without what it took."""
        return self.method, self.clients, self.samples, self.classes, self.actors


def estimate(cell: Cell) -> int:
    """Return about how many bytes a cell needs.

    Stack and personalised teachers, two waves of messages, numbers for pairs of clients, and what a
    method does with a block.

    Examples
    --------
    >>> round(estimate(Cell("comet", 1000, 10_000, 100)) / 1e9)
    11
    """
    one, block = cell.input // cell.clients, 4 * cell.clients * BLOCK * cell.classes
    teachers = cell.input if cell.method in PERSONAL else 0
    waves = 2 * max(BYTES, min(CLIENTS, cell.clients) * one)
    pairs = PAIRS.get(cell.method, 0) * cell.clients**2
    return cell.input + teachers + waves + pairs + 8 * block + 400_000_000


def table(cells: Sequence[Cell]) -> Table:
    """Return the cells as a table."""
    shown = Table(title="one round of knowledge fusion, without training")
    for name in ("size", "method", "engine"):
        shown.add_column(name, no_wrap=True)
    for name in ("collect\ns", "fuse\ns", "fuse\nCPU s", "deliver\ns", "peak\nMB", "peak/\nstack"):
        shown.add_column(name, justify="right")
    for cell in cells:
        shown.add_row(*row(cell))
    return shown


def row(cell: Cell) -> list[str]:
    """Return a line of the table.

    Examples
    --------
    >>> row(Cell("knfu", 100, 2000, 10, error="no result after 5 s"))
    ['100x2000x10', 'knfu', 'inline', 'no result after 5 s']
    """
    names = [f"{cell.clients}x{cell.samples}x{cell.classes}", cell.method]
    names.append("inline" if cell.actors is None else f"ray, {cell.actors}")
    if cell.seconds is None:
        return [*names, str(cell.error)]
    times = [f"{cell.seconds[phase]:,.1f}" for phase in ("fit", "fuse", "fuse_cpu", "distil")]
    ratio = f"{(cell.peak - cell.before) / cell.input:.2f}"
    return [*names, *times, f"{cell.peak / 1e6:,.0f}", ratio]


@styled
def figure(cells: Sequence[Cell]) -> Figure:
    """Return fusion time and peak memory against clients, of the size most cells have."""
    shapes = [(cell.samples, cell.classes) for cell in cells]
    shape = max(shapes, key=shapes.count)
    made, (left, right) = canvas(9.0, 3.6, columns=2)
    alike = [cell for cell in cells if (cell.samples, cell.classes) == shape]
    chosen = [cell for cell in alike if cell.seconds and cell.actors is None]
    for index, method in enumerate(dict.fromkeys(cell.method for cell in chosen)):
        own = sorted((c.clients, c) for c in chosen if c.method == method)
        colour, line = look(index)
        clients = [n for n, _ in own]
        style: Any = {"color": colour, "linestyle": line, "marker": "o", "label": method}
        left.plot(clients, [cell.seconds["fuse"] for _, cell in own if cell.seconds], **style)
        right.plot(clients, [cell.peak / 1e9 for _, cell in own], **style)
    sizes = sorted({cell.clients for cell in chosen})
    stack = [4e-9 * n * shape[0] * shape[1] for n in sizes]
    right.plot(sizes, stack, color="#999999", linestyle=":", label="the stack itself")
    for axes, name in ((left, "fusion, seconds"), (right, "peak memory, GB")):
        axes.set(xscale="log", yscale="log", ylabel=name)
        axes.set_xlabel(f"clients, each with {shape[0]:,} samples x {shape[1]} classes")
    legend_below(made, right)
    return made
