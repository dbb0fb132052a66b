"""A figure with the words that belong to it: for those who see it, and for those who do not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """A figure, what stands under it, and what it shows in numbers.

    Attributes
    ----------
    figure : Figure
        The drawing.
    caption : str
        What it is of, and how it is read; no two figures of a page have the same.
    told : str
        What it shows in numbers: its alternative text.
    """

    figure: Figure
    caption: str
    told: str


def legend_height(labels: Sequence[str], width: float) -> float:
    """Return about how many inches a legend below a figure takes; the figure is that much higher.

    Examples
    --------
    >>> legend_height(["local", "knfu"], 4.8), legend_height(["a long name" * 3] * 40, 4.8)
    (0.2, 8.0)
    """
    across = max(1, int(13 * width / (max(map(len, labels), default=0) + 8)))
    return 0.2 * math.ceil(len(labels) / across)
