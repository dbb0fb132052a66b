"""What accuracy costs: bytes and virtual seconds, and who is on the Pareto front."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from .drawn import Drawn
from .reader import Run
from .statistics import Group, estimate
from .style import INK, WIDTH, canvas, legend_below, look, short, styled

PROBLEM = ("data", "clients", "task", "faults", "system", "attack")
"""Settings that pose the problem: costs are compared between runs of the same."""

MOST = 4
"""Problems that have a panel."""

MARKERS = "osD^vPX"


@dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes
    ----------
    title, unit : str
        Of the axis.
    value : callable
        Run -> number, None where it was not measured.
    """

    title: str
    unit: str
    value: Callable[[Run], float | None]


BYTES = ("bytes_up", "bytes_down")

COSTS = (
    Cost("bytes up and down, whole run", "B", lambda r: sum(r.summary[key] for key in BYTES)),
    Cost("virtual seconds, whole run", "s", lambda r: r.summary.get("virtual_seconds")),
)


@dataclass(frozen=True)
class Point:
    """A method in one problem: means over seeds and sample standard deviations."""

    label: str
    cost: float
    score: float
    cost_std: float
    score_std: float
    seeds: int
    ahead: bool = False
    """Whether it is on the front."""


def front(costs: Sequence[float], scores: Sequence[float], more: bool = True) -> list[bool]:
    """Say which points no other one beats: none costs as little and scores as well, and one better.

    Parameters
    ----------
    costs, scores : sequences ``[points]``
        Less cost is better.
    more : bool
        Whether a higher score is better.

    Examples
    --------
    >>> front([1, 2, 3, 3], [0.5, 0.4, 0.9, 0.8])
    [True, False, True, False]
    >>> front([1, 2], [5.0, 4.0], more=False)
    [True, True]
    """
    price, worth = np.array(costs, np.float64), np.array(scores, np.float64) * (1 if more else -1)
    beaten = [
        bool(((price <= p) & (worth >= w) & ((price < p) | (worth > w))).any())
        for p, w in zip(price, worth, strict=True)
    ]
    return [not each for each in beaten]


def problems(groups: Sequence[Group]) -> dict[str, list[tuple[str, list[Run]]]]:
    """Return for each problem the methods, by label, and their finished runs."""
    found: dict[str, list[tuple[str, list[Run]]]] = {}
    for group in groups:
        posed = [key for key in group.settings if key.partition(".")[0] in PROBLEM]
        problem = ", ".join(f"{key}={group.settings[key]}" for key in posed)
        rest = {key: text for key, text in group.settings.items() if key not in posed}
        runs = [run for run in group.runs if run.finished]
        if runs:
            found.setdefault(problem, []).append((Group(runs, rest).label, runs))
    return found


def points(methods: Sequence[tuple[str, list[Run]]], cost: Cost, name: str) -> list[Point]:
    """Return a point for each method that has both numbers, the cheapest first.

    Parameters
    ----------
    methods : sequence
        Labels and runs, as in `problems`.
    cost : Cost
        What it costs.
    name : str
        ``local`` or ``global``.
    """
    score, found = methods[0][1][0].score, []
    for label, runs in methods:
        spent = estimate(cost.value(run) for run in runs)
        got = estimate(run.summary[f"score_{name}"]["last"] for run in runs)
        if spent.n and got.n:
            found.append(Point(label, spent.mean, got.mean, spent.std, got.std, got.n))
    ahead = front([p.cost for p in found], [p.score for p in found], score.more)
    known = [Point(**{**vars(p), "ahead": a}) for p, a in zip(found, ahead, strict=True)]
    return sorted(known, key=lambda point: point.cost)


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
    figure, panels = canvas(
        WIDTH if columns == 1 else 2.9 * columns, 0.7 + 2.7 * rows, rows, columns
    )
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
            panels[0].plot([], [], label=short(label), **_style(index))
    legend_below(figure, panels[0])
    return figure


def _style(index: int) -> dict[str, Any]:
    marker = MARKERS[index % len(MARKERS)]
    return {"color": look(index)[0], "marker": marker, "ms": 6, "ls": "", "mew": 0}


def _mark(axes: Axes, point: Point, index: int, scale: int) -> None:
    spread = np.nan_to_num([scale * point.score_std, point.cost_std])
    bars: dict[str, Any] = {"yerr": spread[0] or None, "xerr": spread[1] or None, "elinewidth": 0.8}
    ringed = {"mec": INK, "mew": 1.6, "ms": 7.5} if point.ahead else {}
    place = point.cost, scale * point.score
    axes.errorbar(*place, label=short(point.label), **bars, **(_style(index) | ringed))


def _cost_axis(axes: Axes, costs: Sequence[float], unit: str) -> None:
    """Have the axis be logarithmic where costs differ much, also where something costs nothing."""
    paid = [cost for cost in costs if cost > 0]
    if paid and max(paid) > 5 * min(paid):
        if min(costs) > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=min(paid), linscale=0.5)
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif paid:
        axes.set_xlim(-0.04 * max(paid), 1.1 * max(paid))
    axes.xaxis.set_major_formatter(EngFormatter(unit))
