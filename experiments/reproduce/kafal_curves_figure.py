"""The figure of KAFAL's curves: accuracy against labels, a panel for each data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...report.drawing.style import GROUPS, INK, canvas, styled
from .kafal_curves_compared import Curves, numbers
from .kafal_curves_plan import DATA, KCFU, PLAIN, SAMPLERS

COLOURS = dict(zip(SAMPLERS, GROUPS, strict=False))
LINES: dict[str, Any] = {KCFU: "-", PLAIN: (0, (4, 2))}


@styled
def figure(every: Sequence[Curves]) -> Figure:
    """Draw the mean over the seeds that all curves of a data set have; no others have a panel."""
    there = [one for one in zip(DATA.values(), every, strict=True) if one[1].shared()]
    there = there or [(next(iter(DATA.values())), every[0])]
    drawn, panels = canvas(7.6, 3.2, columns=len(there))
    for axes, (title, found) in zip(panels, there, strict=True):
        _panel(axes, found)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("labels")
    drawn.axes[0].set_ylabel("accuracy, %")
    lines = [Line2D([], [], color=colour, label=name) for name, colour in COLOURS.items()]
    lines += [Line2D([], [], color=INK, linestyle=dash, label=u) for u, dash in LINES.items()]
    drawn.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8)
    return drawn


def _panel(axes: Axes, found: Curves) -> None:
    shared = found.shared()
    for curve, values in shared.items():
        update, sampler = curve
        x = numbers(next(iter(found.rows(curve).values())), "labels")
        colour, dash = COLOURS[sampler], LINES[update]
        axes.plot(x, np.mean(values, axis=0), color=colour, linestyle=dash, marker=".", lw=1.3)
    if not shared:
        axes.text(0.5, 0.5, "not run yet", ha="center", va="center", transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
