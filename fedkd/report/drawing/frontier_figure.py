"""What accuracy costs, drawn: a figure for each cost and headline."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from ..reader import Run
from ..statistics import Group
from .drawn import Drawn
from .frontier import COSTS, Cost, Point, points, problems
from .style import INK, WIDTH, canvas, legend_below, look, styled

MOST = 4
"""Problems that have a panel."""

MARKERS = "osD^vPX"


def drawn(groups: Sequence[Group]) -> Iterator[Drawn]:
    """Yield a figure for each cost and headline that at least two methods have in one problem."""
    posed = problems(groups)
    methods = list(dict.fromkeys(label for each in posed.values() for label, _ in each))
    for cost in COSTS:
        for name in ("local", "global"):
            every = {problem: points(each, cost, name) for problem, each in posed.items()}
            known = {problem: each for problem, each in every.items() if len(each) > 1}
            if known:
                shown = dict(list(known.items())[:MOST])
                figure = frontier_figure(shown, methods, groups[0], cost, name)
                left = [run for group in groups for run in group.runs if not run.finished]
                yield Drawn(
                    figure,
                    _caption(cost, name, groups[0], known, left),
                    _told(shown, cost, groups[0]),
                )


def _caption(
    cost: Cost, name: str, group: Group, known: dict[str, Any], unfinished: list[Run]
) -> str:
    title = group.score.title(name)
    several = any(point.seeds > 1 for each in known.values() for point in each)
    words = [f"{title} against {cost.title}, last round. Line and ringed: the Pareto front"]
    words[0] += " of means over seeds; bars: ± one std." if several else "."
    if len(known) > MOST:
        words.append(f"The first {MOST} of {len(known)} settings.")
    if unfinished:
        words.append(f"Without {len(unfinished)} unfinished.")
    return " ".join(words)


def _told(shown: dict[str, list[Point]], cost: Cost, group: Group) -> str:
    amount, score = EngFormatter(cost.unit, places=1), group.score
    told = []
    for problem, each in shown.items():
        ahead = [
            f"{point.label} with {score.text(point.score)}{score.unit} at {amount(point.cost)}"
            for point in each
            if point.ahead
        ]
        where = f"{problem}: " if problem else ""
        told.append(f"{where}{len(ahead)} of {len(each)} on the front: {'; '.join(ahead)}.")
    return " ".join(told)


@styled
def frontier_figure(
    shown: dict[str, list[Point]], methods: Sequence[str], group: Group, cost: Cost, name: str
) -> Figure:
    """Draw a panel for each problem: a marker a method, a line through those on the front."""
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    width = WIDTH if columns == 1 else 2.9 * columns
    figure, panels = canvas(width, 0.9 + 2.7 * rows, rows, columns)
    for axes, (problem, each) in zip(panels, shown.items(), strict=False):
        for point in each:
            _mark(axes, point, methods.index(point.label), group.score.scale)
        ahead = [point for point in each if point.ahead]
        places = [point.cost for point in ahead], [group.score.scale * p.score for p in ahead]
        axes.plot(*places, color=INK, lw=0.9, ls=":", drawstyle="steps-post", zorder=1)
        axes.set(xlabel=cost.title, ylabel=group.score.title(name) + group.score.axis)
        axes.set_title(problem.replace(", ", "\n"), fontsize=9)
        _cost_axis(axes, [point.cost for point in each], cost.unit)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for index, label in enumerate(methods):  # the legend is the first panel's
        if all(point.label != label for point in next(iter(shown.values()))):
            panels[0].plot([], [], label=label, **_style(index))
    legend_below(figure, panels[0])
    return figure


def _style(index: int) -> dict[str, Any]:
    marker = MARKERS[index % len(MARKERS)]
    return {"color": look(index)[0], "marker": marker, "ms": 6, "ls": "", "mew": 0}


def _mark(axes: Axes, point: Point, index: int, scale: int) -> None:
    spread = np.nan_to_num([scale * point.score_std, point.cost_std])
    bars: dict[str, Any] = {"yerr": spread[0] or None, "xerr": spread[1] or None, "elinewidth": 0.8}
    ringed = {"mec": INK, "mew": 1.6, "ms": 7.5} if point.ahead else {}
    axes.errorbar(
        point.cost,
        scale * point.score,
        label=point.label,
        **bars,
        **(_style(index) | ringed),
    )


def _cost_axis(axes: Axes, costs: Sequence[float], unit: str) -> None:
    """Have the axis be logarithmic where costs differ much, also where something costs nothing."""
    paid = [cost for cost in costs if cost > 0]
    if paid and max(paid) > 10 * min(paid):
        if min(costs) > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=min(paid), linscale=0.5)
            decades = range(math.ceil(math.log10(min(paid))), math.ceil(math.log10(max(paid))))
            axes.set_xticks([0, *(10.0**power for power in decades)])
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif paid:
        axes.set_xlim(-0.04 * max(paid), 1.1 * max(paid))
    axes.xaxis.set_major_formatter(EngFormatter(unit))
