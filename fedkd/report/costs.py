"""Figures of what runs cost: seconds and bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from ..rundir.summary import PHASES
from .drawing.style import GROUPS, PAPER, WIDTH, apart, canvas, legend_below, styled
from .reader import Run
from .statistics import Group, Runs, as_groups

PHASE_COLOURS = {
    "startup": "#BBBBBB",
    "fit": GROUPS[0],
    "fuse": GROUPS[3],
    "distil": GROUPS[2],
    "evaluate": GROUPS[5],
    "other": GROUPS[4],
}

EDGE: dict[str, Any] = {"edgecolor": PAPER, "linewidth": 0.5}
"""Parts bars also where nobody sees their colours."""


@styled
def time_figure(runs: Runs) -> Figure:
    """Draw seconds per phase: a bar a round for one run, a bar a group for several."""
    groups = as_groups(runs)
    if len(groups) == 1 and len(groups[0].runs) == 1:
        return _time_per_round(groups[0].runs[0])
    figure, (axes,) = canvas(WIDTH, 1.4 + 0.4 * len(groups))
    names = ("total", "startup", *PHASES)
    means = {
        name: np.array(
            [g.over_seeds(lambda r, n=name: r.summary["seconds"].get(n)).mean for g in groups]  # type: ignore[misc]
        )
        for name in names
    }
    total = np.nan_to_num(means.pop("total"))
    parts = {name: np.nan_to_num(values) for name, values in means.items()}
    parts["other"] = np.maximum(0, total - sum(parts.values()))
    left = np.zeros(len(groups))
    for name, seconds in _worth_showing(parts).items():
        how: dict[str, Any] = {"label": name, "color": PHASE_COLOURS[name], **EDGE}
        axes.barh(range(len(groups)), seconds, 0.6, left, **how)
        left += seconds
    _group_axis(axes, groups)
    axes.set_xlabel("seconds, whole run" + _mean_note(groups))
    legend_below(figure, axes)
    return figure


@styled
def traffic_figure(runs: Runs) -> Figure:
    """Draw the bytes of a whole run, up (from the clients) and down, a pair of bars a group."""
    groups = as_groups(runs)
    figure, (axes,) = canvas(WIDTH, 1.4 + 0.4 * len(groups))
    for shift, key, colour in ((-0.2, "up", GROUPS[0]), (0.2, "down", GROUPS[4])):
        sizes = [g.over_seeds(lambda r, k=key: r.summary[f"bytes_{k}"]).mean for g in groups]  # type: ignore[misc]
        axes.barh(np.arange(len(groups)) + shift, sizes, 0.38, color=colour, label=key)
    _group_axis(axes, groups)
    axes.set_xlabel("payload, whole run" + _mean_note(groups))
    axes.xaxis.set_major_formatter(EngFormatter("B"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    legend_below(figure, axes)
    return figure


def _time_per_round(run: Run) -> Figure:
    figure, (axes,) = canvas(WIDTH, 3.4)
    rounds = run.rounds["round"].to_numpy()
    parts = {name: np.nan_to_num(run.column(f"seconds_{name}")) for name in PHASES}
    parts["other"] = np.maximum(0, np.nan_to_num(run.column("seconds")) - sum(parts.values()))
    bottom = np.zeros(len(rounds))
    for name, seconds in _worth_showing(parts).items():
        how: dict[str, Any] = {"label": name, "color": PHASE_COLOURS[name], **EDGE}
        axes.bar(rounds, seconds, 0.8, bottom, **how)
        bottom += seconds
    axes.set(xlabel="round", ylabel="seconds")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=False, axis="x")
    legend_below(figure, axes)
    return figure


def _group_axis(axes: Axes, groups: Sequence[Group]) -> None:
    axes.set_yticks(range(len(groups)), apart([group.label for group in groups]))
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _mean_note(groups: Sequence[Group]) -> str:
    return " (mean over seeds)" if any(len(group.runs) > 1 for group in groups) else ""


def _worth_showing(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    total = sum(values.sum() for values in parts.values())
    return {name: values for name, values in parts.items() if values.sum() > 0.002 * total}
