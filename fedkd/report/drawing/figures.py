"""The figures of a report. Each takes a run or runs and returns a matplotlib figure.

Runs that differ only in their seed are one line or bar. Nothing here touches pyplot.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...errors import ConfigError
from ...score import Score
from ..costs import time_figure, traffic_figure
from ..statistics import Group, Runs, as_groups
from .distribution import METRICS, client_distribution
from .maps import weights_figure
from .partition import partition_figure
from .style import PAPER, WIDTH, canvas, legend_below, styled
from .tracing import band, marked, pen, trace

__all__ = [
    "client_distribution",
    "learning_curves",
    "neighbours_figure",
    "partition_figure",
    "time_figure",
    "traffic_figure",
    "virtual_figure",
    "weights_figure",
]


BANDS = 3
"""Curves with a band each: of more, the bands would hide one another."""


def spread_drawn(count: int) -> str:
    """Return how the spread of so many curves is drawn."""
    return "Band" if count <= BANDS else "Bars right of the curves, last round"


@styled
def learning_curves(runs: Runs, metrics: Sequence[str] = METRICS) -> Figure:
    """Draw the headline against the round, an axes for each of `metrics` (``local``, ``global``).

    Either has the same range, so that they can be compared. The band is one standard deviation
    over seeds, or over clients where there is one seed; of many curves only the last is drawn, as
    a bar. Points measured on a subset of the test split are hollow, with a bar of one standard
    error.
    """
    groups = as_groups(runs)
    figure, axes = canvas(WIDTH * len(metrics), 3.4, columns=len(metrics))
    for panel, metric in zip(axes, metrics, strict=True):
        column, scale = groups[0].score.column(metric), groups[0].score.scale
        for place in enumerate(groups):
            _curve(panel, place, len(groups), column, scale=scale)
        _scored_axis(panel, groups, metric)
    if len(groups) > 1:
        legend_below(figure, axes[0])
    return figure


@styled
def virtual_figure(runs: Runs) -> Figure:
    """Draw the headline (global) against virtual time, of the runs that have a virtual clock."""
    groups = as_groups(runs)
    figure, (axes,) = canvas(WIDTH, 3.4)
    column, scale = groups[0].score.column("global"), groups[0].score.scale
    for place in enumerate(groups):
        _curve(axes, place, len(groups), column, scale=scale, clock="virtual_time")
    axes.set(xlabel="virtual seconds", xlim=(0, None))
    _scored_axis(axes, groups, "global")
    if len(groups) > 1:
        legend_below(figure, axes)
    return figure


@styled
def neighbours_figure(runs: Runs) -> Figure:
    """Draw the effective number of neighbours against the round.

    Raises
    ------
    ConfigError
        If no run's strategy has mixing weights.
    """
    groups = as_groups(runs)
    figure, (axes,) = canvas(WIDTH, 3.4)
    for place in enumerate(groups):
        _curve(axes, place, len(groups), "effective_neighbours")
    if not axes.lines:
        raise ConfigError("strategy", groups[0].strategy, "the run has no effective neighbours")
    axes.set(ylabel="effective neighbours (clients)", ylim=(0, None))
    if len(groups) > 1:
        legend_below(figure, axes)
    return figure


def _scored_axis(axes: Axes, groups: Sequence[Group], name: str) -> None:
    """Label an axis of the headline, with the range of local and global curves together."""
    score = groups[0].score
    axes.set_ylabel(score.title(name) + score.axis)
    ends = [_ends(group, score, metric) for group in groups for metric in METRICS]
    values = score.scale * np.concatenate(ends)
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    room = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(max(low - room, 0), min(high + room, 101) if score.percent else high + room)


def _ends(group: Group, score: Score, name: str) -> np.ndarray:
    """Return how far a curve's band reaches, both ways ``[2 * rounds]``, within what can be."""
    _, mean, spread = group.curve(score.column(name))
    error = group.sampling_error(score.column(name))
    most = np.fmax(np.nan_to_num(spread), np.nan_to_num(error)) if mean.size else mean
    return np.concatenate([mean - most, mean + most]).clip(0, 1 if score.percent else None)


def _curve(
    axes: Axes,
    place: tuple[int, Group],
    count: int,
    column: str,
    scale: float = 1,
    clock: str | None = None,
) -> None:
    """Draw a column against the round, or against another one: its mean over seeds."""
    index, group = place
    (places, mean, spread), error = group.curve(column), group.sampling_error(column)
    if clock is not None:
        rounds, times, _ = group.curve(clock)
        known = np.isin(places, rounds)
        places, mean, spread = times[np.isin(rounds, places)], mean[known], spread[known]
        error = error[known]
    if not places.size:
        return
    mean, spread, error = scale * mean, scale * spread, scale * error
    some = np.isfinite(error)  # measured on a subset
    style, every = pen(index, count), marked(np.flatnonzero(~some).tolist(), index, count)
    trace(axes, places, mean, index, count, label=group.label, markevery=every)
    if some.any():
        hollow = {"markerfacecolor": PAPER, "markeredgecolor": style["color"], "markersize": 5}
        hollow |= {"linestyle": "", "elinewidth": 0.8, "gid": "subset"}
        axes.errorbar(places[some], mean[some], error[some], **(style | hollow))
    most = 100 if scale == 100 else np.inf
    low, high = np.maximum(mean - spread, 0), np.minimum(mean + spread, most)
    if count <= BANDS:
        axes.fill_between(places, low, high, color=style["color"], **band(count))
    elif np.isfinite(spread[-1]):
        right = places[-1] + np.ptp(places) * min(0.03, 0.25 / count) * (index + 1)
        ends = [[mean[-1] - low[-1]], [high[-1] - mean[-1]]]
        bar = {"elinewidth": 1.2, "capsize": 2, "markersize": 4}
        axes.errorbar([right], mean[-1:], ends, **(style | bar))
    if clock is None:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("round")
