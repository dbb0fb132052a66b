"""A figure with the words that belong to it: for those who see it, and for those who do not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from .style import to_svg


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

    def svg(self) -> Markup:
        """Return the figure as an ``<svg>`` that is an image with a text.

        Examples
        --------
        >>> str(Drawn(Figure(), "A line.", "It ends at 3 < 5.").svg())[:51]
        '<svg role="img" aria-label="It ends at 3 &lt; 5." x'
        """
        # Our own drawing code made the SVG, and it escapes the words in it.
        text = to_svg(self.figure, self.caption)
        return Markup(text.replace("<svg", f'<svg role="img" aria-label="{escape(self.told)}"', 1))


def legend_height(labels: Sequence[str], width: float) -> float:
    """Return about how many inches a legend below a figure takes; the figure is that much higher.

    Examples
    --------
    >>> legend_height(["local", "knfu"], 4.8), legend_height(["a long name" * 3] * 40, 4.8)
    (0.2, 8.0)
    """
    across = max(1, int(13 * width / (max(map(len, labels), default=0) + 8)))
    return 0.2 * math.ceil(len(labels) / across)
