"""A figure with the words that belong to it: for those who see it, and for those who do not."""

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
