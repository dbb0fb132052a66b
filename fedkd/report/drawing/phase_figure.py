"""Phase diagrams drawn: a heat map a method, and a map of the winner."""

import math
from collections.abc import Iterator, Sequence
from string import ascii_uppercase
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from ...score import Score
from ..statistics import Group
from .drawn import Drawn
from .phases import DECIDED, MISSING, ONE_SEED, OPEN, Phases, phases
from .style import GROUPS, apart, canvas, legend_below, styled

MOST = 3
"""Problems that have a diagram of each headline."""

MAPS = 8
"""Methods that have a heat map; the winner is of all."""

ROOM = 8
"""Columns up to which cells have numbers."""

HATCH = {OPEN: "///", ONE_SEED: "..."}

OTHERS = "#BBBBBB"
"""Of winners beyond the palette; their letters tell them apart."""


def drawn(groups: Sequence[Group]) -> Iterator[Drawn]:
    """Yield phase diagrams of the headlines, where groups differ in two numeric settings."""
    score = groups[0].score
    left = sum(not run.finished for group in groups for run in group.runs)
    for name in ("local", "global"):
        every = phases(groups, name)
        for problem, found in list(every.items())[:MOST]:
            figure = phases_figure(found, score, score.title(name) + score.axis)
            caption = _caption(found, score.title(name), problem)
            if len(every) > MOST:
                caption += f" The first {MOST} of {len(every)} problems have diagrams."
            if left:
                caption += f" Without {left} unfinished."
            yield Drawn(figure, caption, _told(found, score))


def _caption(found: Phases, title: str, problem: str) -> str:
    several = len(found.arms) > 1
    where = f"{problem}: " if problem else ""
    against = " and ".join(found.keys)
    words = [f"{where}{title} after the last round, mean over seeds, against {against}."]
    if len(found.arms) > MAPS:
        words.append(
            f"Maps of {MAPS} of {len(found.arms)} methods, winners and the best of others."
        )
    if several:
        words.append(
            "Winner: the best mean over common seeds, and how much better it is than the second."
        )
        if (found.state == OPEN).any():
            words.append("Hatched: undecided, 0 is inside the paired 95 % interval over seeds.")
        if lonely := int((found.state == ONE_SEED).sum()):
            words.append(f"Dotted ({lonely}): fewer than 2 seeds in common, so nobody knows.")
    if (found.state == MISSING).any() or np.isnan(found.means).any():
        words.append("Blank: no finished run.")
    return " ".join(words)


def _told(found: Phases, score: Score) -> str:
    """Return the winners of all cells, and each method's range, in numbers."""
    means = [
        f"{arm} {score.text(np.nanmin(each))} to {score.text(np.nanmax(each))}{score.unit}"
        for arm, each in zip(found.arms, found.means, strict=True)
    ]
    told = [f"{'; '.join(means)}."]
    if len(found.arms) > 1:
        contested = int((found.winner >= 0).sum())
        won = [
            f"{arm} {won} ({sure} decided)"
            for index, arm in enumerate(found.arms)
            for won, sure in [_wins(found, index)]
            if won
        ]
        told.append(f"Best of {contested} cells: {', '.join(won) or 'none'}.")
    return " ".join(told)


def _wins(found: Phases, index: int) -> tuple[int, int]:
    """Return in how many cells a method is best, and in how many decidedly."""
    best = found.winner == index
    return int(best.sum()), int((best & (found.state == DECIDED)).sum())


@styled
def phases_figure(found: Phases, score: Score, title: str) -> Figure:
    """Draw a heat map for each method on one scale, and the map of the winner where there are two.

    Parameters
    ----------
    found : Phases
        What to draw.
    score : Score
        How numbers are shown.
    title : str
        Of the scale.
    """
    arms = mapped(found, score)
    panels = len(arms) + (len(found.arms) > 1)
    columns = min(2 if panels <= 4 else 3, panels)
    rows = -(-panels // columns)
    wide = max(1.9, 0.5 + 0.5 * min(len(found.columns), ROOM))
    tall = max(1.3, 0.7 + 0.34 * min(len(found.rows), 10))
    width, height = wide * columns + 1.1, tall * rows + 0.7
    if len(arms) < len(found.arms):
        height += 0.4  # of the legend
    figure, axes = canvas(width, height, rows, columns)
    shown = score.scale * found.means[arms]
    limits = float(np.nanmin(shown)), float(np.nanmax(shown))
    names = apart(found.arms, 20)
    for index, values, panel in zip(arms, shown, axes, strict=False):
        image = _heat(panel, values, limits, score)
        panel.set_title(f"{letter(index)}  {names[index]}", fontsize=9)
    figure.colorbar(image, ax=axes, label=title, shrink=0.85, aspect=25)
    if panels > len(arms):
        _winners(axes[len(arms)], found, score)
    if len(arms) < len(found.arms):  # titles do not have all letters
        legend_below(figure, axes[len(arms)])
    for place, panel in enumerate(axes[:panels]):
        _positions(panel, found)
        panel.set_xlabel(found.keys[0] if place + columns >= panels else "")
    figure.supylabel(found.keys[1], fontsize=10)
    for panel in axes[panels:]:
        panel.set_axis_off()
    return figure


def mapped(found: Phases, score: Score) -> list[int]:
    """Return the places of the methods that have a map: who wins most, then who is best on average.

    Parameters
    ----------
    found : Phases
        All methods.
    score : Score
        Says whether more is better.
    """
    means = np.nanmean(found.means, axis=(1, 2)) * (1 if score.more else -1)
    wins = [int((found.winner == index).sum()) for index in range(len(means))]
    best = sorted(range(len(means)), key=lambda index: (-wins[index], -means[index]))
    return sorted(best[:MAPS])


def letter(index: int) -> str:
    """Return what a method is called in the cells.

    Examples
    --------
    >>> letter(0), letter(25), letter(26)
    ('A', 'Z', 'AA')
    """
    return ascii_uppercase[index % 26] * (1 + index // 26)


def _heat(axes: Axes, values: np.ndarray, limits: tuple[float, float], score: Score) -> AxesImage:
    scale: Any = {"cmap": "cividis", "vmin": limits[0], "vmax": limits[1]}
    image = axes.imshow(values, aspect="auto", origin="lower", **scale)
    for (row, column), value in np.ndenumerate(values):
        if values.shape[1] <= ROOM and math.isfinite(value):
            _write(axes, row, column, score.text(value / score.scale), image.to_rgba(value)[:3])
    return image


def _winners(axes: Axes, found: Phases, score: Score) -> None:
    """Colour each cell as its winner, with its letter and margin; hatch what is undecided."""
    winning = [index for index in range(len(found.arms)) if (found.winner == index).any()]
    colours = dict.fromkeys(winning, OTHERS) | dict(zip(winning, GROUPS, strict=False))
    for index, colour in colours.items():
        label = f"{letter(index)}  {found.arms[index]}"
        axes.plot([], [], "s", ms=9, color=colour, label=label)
    for (row, column), index in np.ndenumerate(found.winner):
        if index < 0:
            continue
        hatch = HATCH.get(int(found.state[row, column]))
        place = (column - 0.5, row - 0.5), 1, 1
        axes.add_patch(Rectangle(*place, fc=colours[index], ec="white", lw=0.5, hatch=hatch))
        margin = f" +{score.text(float(found.margin[row, column]))}" * _roomy(found)
        _write(axes, row, column, letter(index) + margin, colours[index])
    axes.set(xlim=(-0.5, len(found.columns) - 0.5), ylim=(-0.5, len(found.rows) - 0.5))
    axes.set_title("winner", fontsize=9)


def _roomy(found: Phases) -> bool:
    return len(found.columns) <= ROOM


def _write(axes: Axes, row: int, column: int, text: str, ground: Any) -> None:
    """Write into a cell, dark on light and light on dark, also where it is hatched."""
    red, green, blue = to_rgb(ground)
    ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
    behind = {"fc": ground, "ec": "none", "pad": 0.8}
    axes.text(column, row, text, ha="center", va="center", fontsize=8, color=ink, bbox=behind)


def _positions(axes: Axes, found: Phases) -> None:
    """Name columns and rows in the order of their numbers, one place each."""
    for axis, names in ((axes.xaxis, found.columns), (axes.yaxis, found.rows)):
        every = -(-len(names) // ROOM)
        axis.set_ticks(range(0, len(names), every), names[::every])
    axes.tick_params(length=0)
    axes.grid(visible=False)
