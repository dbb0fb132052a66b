"""How figures look, and how they become SVG that fits a light or a dark page."""

import functools
import math
import re
from collections.abc import Callable, Sequence
from io import BytesIO, StringIO
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#3b4048"
"""Text and axes. In SVG it becomes the page's text colour, so that figures follow the theme."""

PAPER = "#fffffe"
"""Behind figures: what parts things from one another. In SVG it becomes the page's card."""

GROUPS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's palette, told apart with any kind of colour vision."""

CLASSES = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#BBBBBB",
)  # fmt: skip
"""Paul Tol's muted palette."""

WIDTH = 4.8
"""Inches of a figure: small enough for its text to be read on a phone."""

LINES: tuple[Any, ...] = ("-", (0, (7, 4)), (0, (2.2, 2.8)), (0, (11, 3.5, 2.2, 3.5)))

STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.linewidth": 0.6,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "grid.linewidth": 0.6,
    # A line's edge has the line's dashes, whatever its width.
    "lines.scale_dashes": False,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    # Labels hold the user's words, where a dollar sign is a dollar sign.
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}

P = ParamSpec("P")


class Drawing(Figure):
    """A figure that a notebook shows, also where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        with mpl.rc_context(STYLE):
            self.savefig(file, format="png", dpi=120, facecolor="white")
        return file.getvalue()


def styled(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a figure function draw in our style, whatever the process' matplotlib settings."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return function(*args, **kwargs)

    return wrapper


def canvas(
    width: float,
    height: float,
    rows: int = 1,
    columns: int = 1,
    ratios: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """Return a figure that pyplot knows nothing of, and its axes row by row.

    Sizes are in inches; `ratios` are those of the rows' heights.
    """
    figure = Drawing(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, height_ratios=ratios).flat)


def worded(figure: Figure, words: str) -> Figure:
    """Return the figure, with words of its own for who cannot see it: what `told` returns."""
    figure.set_label(words)
    return figure


def look(index: int) -> tuple[str, Any]:
    """Return colour and line style of the index-th group.

    Neighbours differ in both, so that curves are told apart without their colours; 24 in a row
    differ in one.

    Examples
    --------
    >>> look(0), look(1)
    (('#0072B2', '-'), ('#D55E00', (0, (7, 4))))
    >>> len({look(index) for index in range(24)})
    24
    """
    lines = LINES[(index + index // 12) % len(LINES)]
    return GROUPS[index % len(GROUPS)], lines


def short(label: str, limit: int = 28) -> str:
    """Return a label cut to `limit` characters."""
    return label if len(label) <= limit else f"{label[: limit - 1]}…"


def apart(labels: Sequence[str], limit: int = 28) -> list[str]:
    """Return labels cut to about `limit` characters, so that different ones stay different.

    Where one is too long, keys lose what comes before their last dot, in all of them; in those that
    still are, each part loses its middle. What is the same then is numbered.

    Examples
    --------
    >>> apart(["knfu", "fedmd, data.alpha=0.1, rounds=5", "fedmd, data.alpha=1.0, rounds=5"], 24)
    ['knfu', 'fedmd, alp…0.1, rou…s=5', 'fedmd, alp…1.0, rou…s=5']
    >>> apart(["one_and_the_other", "one_or_the_other"], 8)
    ['1 one_…her', '2 one_…her']
    """
    if all(len(label) <= limit for label in labels):
        return list(labels)
    cut = [_cut(re.sub(r"\b\w+\.(?=\w+=)", "", label), limit) for label in labels]
    if len({*cut}) == len({*labels}):
        return cut
    return [f"{place} {label}" for place, label in enumerate(cut, 1)]


def _cut(label: str, limit: int) -> str:
    if len(label) <= limit:
        return label
    parts = label.split(", ")
    each = max(7, (limit - 2 * (len(parts) - 1)) // len(parts))
    end = (each - 1) // 2
    return ", ".join(
        part if len(part) <= each else f"{part[: each - 1 - end]}…{part[-end:]}" for part in parts
    )


ROW, ROWS = 0.21, 2
"""Inches of a legend's row, and the rows that every figure has room for."""


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put the legend of `axes` under the figure, in as many columns as its labels allow.

    The figure grows by what the legend needs, so that a long one takes nothing from the axes; a
    label that is wider than the figure is cut.
    """
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    letters = int(14 * figure.get_figwidth())  # in the width of the figure, narrow and wide ones
    labels = apart(labels, int(0.85 * letters) - 8)
    widest = max(len(label) for label in labels)
    rows = math.ceil(len(labels) / max(1, letters // (widest + 8)))
    across = math.ceil(len(labels) / rows)  # rows of equal length
    figure.set_figheight(figure.get_figheight() + ROW * max(0, rows - ROWS))
    # Matplotlib fills columns first; people read rows first.
    order = [i for column in range(across) for i in range(column, len(labels), across)]
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside lower center",
        ncols=across,
        handlelength=2.2,
        columnspacing=1.2,
    )


def to_svg(figure: Figure, name: str) -> str:
    """Return the figure as an ``<svg>`` element to put into a page.

    No XML prolog, size or metadata; ink is ``currentColor``, paper ``var(--card)``. `name`
    makes the ids of clip paths differ between figures and equal between two renderings of one.
    """
    file = StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, dpi=200, metadata=nothing)
    text = file.getvalue()
    svg = text[text.index("<svg") :].replace(INK, "currentColor").replace(PAPER, "var(--card)")
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    # Matplotlib numbers groups from 1 in each figure; an id must be unique in a page.
    return re.sub(r'<g id="[^"]*"', "<g", svg)
