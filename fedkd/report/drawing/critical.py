"""The critical-difference diagram: average ranks, and who is not told apart (Demšar, 2006)."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..significance import Ranks
from .style import INK, WIDTH, canvas, short, styled

BAR = 0.35
"""Height of a bar below the axis, in lines of text."""


@styled
def critical_figure(ranks: Ranks) -> Figure:
    """Draw average ranks on an axis, the best at the left; a bar joins who is not told apart."""
    count, alike = len(ranks.average), ranks.alike()
    top = 1 + BAR * len(alike)  # lines of text between the axis and the first name
    height = top + math.ceil(count / 2)
    figure, (axes,) = canvas(1.4 * WIDTH, 0.7 + 0.24 * height)
    axes.set(xlim=(1 - 0.02 * count, count + 0.02 * count), ylim=(height, -1.6))
    axes.set_xticks(range(1, count + 1))
    axes.xaxis.tick_top()
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.spines["top"].set(visible=True, position=("data", 0))
    axes.yaxis.set_visible(False)
    axes.grid(visible=False)
    _scale(axes, ranks)
    for index, (name, rank) in enumerate(ranks.average.items()):
        _name(axes, str(name), float(rank), index, count, top)
    for index, names in enumerate(alike):
        ends = [ranks.average[name] for name in (names[0], names[-1])]
        place = 0.5 + BAR * index
        axes.plot([ends[0] - 0.03, ends[1] + 0.03], [place, place], color=INK, lw=3.5)
    return figure


def _scale(axes: Axes, ranks: Ranks) -> None:
    """Draw how long the critical difference is, above the axis."""
    end = min(1 + ranks.critical, len(ranks.average))
    axes.plot([1, end], [-1.2, -1.2], color=INK, lw=1.2, marker="|", clip_on=False)
    longer = " (longer than the axis)" if end < 1 + ranks.critical else ""
    axes.annotate(f"CD = {ranks.critical:.2f}{longer}", (end, -1.2), (6, 0), va="center",
                  textcoords="offset points", annotation_clip=False)  # fmt: skip


def _name(axes: Axes, name: str, rank: float, index: int, count: int, top: float) -> None:
    """Write a name beside the axis, the better half at the left, and lead to its rank."""
    left = index < math.ceil(count / 2)
    place = top + (index if left else count - 1 - index)
    edge = axes.get_xlim()[0 if left else 1]
    axes.plot([rank, rank, edge], [0, place, place], color=INK, lw=0.9, clip_on=False)
    axes.annotate(f"{short(name)}  {rank:.2f}", (edge, place), (-4 if left else 4, 0), va="center",
                  ha="right" if left else "left", textcoords="offset points",
                  annotation_clip=False)  # fmt: skip
