"""Where the cards of a page stand: in two columns that are about as long as one another."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from .drawing.style import to_svg
from .drawing.told import told

WIDE = 440
"""Points (72 an inch) from which a picture has both columns: in one its text would be too small."""

LETTERS, LINE, EDGE = 78, 0.038, 0.09
"""Of a caption in a line; height of a line and of a card's edge, in widths of a column."""


@dataclass(frozen=True)
class Picture:
    """An SVG element and the words under it."""

    svg: Markup
    caption: str
    more: Markup | None = None
    """the same on another scale, for who asks for it"""
    opened: bool = False
    """whether nobody needs to ask, because the first has nothing to be seen"""


def image(figure: Figure, name: str) -> Markup:
    """Return the figure as an ``<svg>`` that is an image with a text; `name` is as in `to_svg`."""
    start = f'<svg role="img" aria-label="{escape(told(figure))}"'
    # Our own drawing code made the SVG, and it escapes the words in it.
    return Markup(to_svg(figure, name).replace("<svg", start, 1))


@dataclass
class Block:
    """Columns side by side, of pictures with their place in the page; one where a picture is wide.

    Attributes
    ----------
    columns : list
        Of lists of ``(place, picture)``.
    heights : list of float
        How long each column is, in its widths.
    """

    columns: list[list[tuple[int, Picture]]]
    heights: list[float] = field(default_factory=list)

    @property
    def shorter(self) -> int:
        """The column that has more room left."""
        return self.heights.index(min(self.heights))


def size(svg: str) -> tuple[float, float]:
    """Return width and height of an SVG element, in points.

    Examples
    --------
    >>> size('<svg viewBox="0 0 345.6 244.8" xmlns="x">')
    (345.6, 244.8)
    """
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    return (float(found[1]), float(found[2])) if found else (1.0, 1.0)


def balanced(pictures: Sequence[Picture]) -> list[Block]:
    """Return blocks of columns: each picture goes to the column that is shorter so far."""
    blocks: list[Block] = []
    open_block: Block | None = None
    for place, picture in enumerate(pictures):
        width, height = size(picture.svg)
        if width >= WIDE:
            blocks.append(Block([[(place, picture)]], [height / width]))
            open_block = None
            continue
        if open_block is None:
            open_block = Block([[], []], [0.0, 0.0])
            blocks.append(open_block)
        column = open_block.shorter
        open_block.columns[column].append((place, picture))
        lines = 1 + len(picture.caption) // LETTERS
        drawn = height / width * (1 + picture.opened)
        open_block.heights[column] += drawn + EDGE + LINE * lines
    return blocks
