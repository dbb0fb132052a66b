"""Curves that are told apart where they lie on one another, also without their colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .style import PAPER, look

MARKERS = "os^DvPX"

MARKED = 12
"""Points of a curve that have a marker, at most: curves of many rounds would be beads."""


def pen(index: int, count: int) -> dict[str, Any]:
    """Return how the index-th of `count` curves is drawn, for ``Axes.plot``.

    Later curves lie on earlier ones, thinner and with an edge: where some are equal, each is seen.

    Examples
    --------
    >>> [pen(index, 3)["linewidth"] for index in range(3)]
    [3.2, 2.3, 1.4]
    """
    colour, line = look(index)
    above = (count - 1 - index) / max(count - 1, 1) if count > 1 else 0.0
    return {
        "color": colour,
        "linestyle": line,
        "linewidth": round(1.4 + 1.8 * above, 2),
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": round(3.5 + 4 * above, 2),
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.5,
    }


def trace(axes: Axes, x: np.ndarray, y: np.ndarray, index: int, count: int, **more: Any) -> None:
    """Draw the index-th of `count` curves, parted by an edge from those that it lies on."""
    style = pen(index, count)
    if index:
        edge = {"color": PAPER, "linewidth": style["linewidth"] + 1.4, "label": "_edge"}
        axes.plot(x, y, linestyle=style["linestyle"], **edge)
    axes.plot(x, y, **style, **more)


def marked(points: Sequence[int], index: int, count: int) -> list[int]:
    """Return the points of the index-th curve that have a marker: other ones than its neighbours'.

    Examples
    --------
    >>> marked(range(5), 0, 2), marked(range(100), 0, 2)[:3], marked(range(100), 1, 2)[:3]
    ([0, 1, 2, 3, 4], [0, 9, 18], [4, 13, 22])
    """
    step = -(-len(points) // MARKED)
    return [*points[index * step // max(count, 1) % step :: step]]


def band(count: int) -> dict[str, Any]:
    """Return how a band is drawn where there are `count`: fainter, the more lie on one another."""
    return {"alpha": 0.16 if count < 3 else 0.1, "linewidth": 0}
