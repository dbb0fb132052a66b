"""The distribution of scores over clients."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..statistics import Runs, as_groups
from .style import INK, WIDTH, apart, canvas, look, styled, worded
from .told import number

METRICS = ("local", "global")
"""What a headline is of, in the order shown."""


@styled
def client_distribution(runs: Runs, metrics: Sequence[str] = METRICS) -> Figure:
    """Draw each client's last score as a dot, and the quartiles as a box, all seeds together."""
    groups = as_groups(runs)
    score = groups[0].score
    figure, axes = canvas(
        WIDTH, len(metrics) * (0.8 + 0.34 * max(len(groups), 2)), rows=len(metrics)
    )
    words = []
    for panel, metric in zip(axes, metrics, strict=True):
        for index, group in enumerate(groups):
            values = np.concatenate([run.values(metric)[1] for run in group.runs])
            known = score.scale * values[np.isfinite(values)]
            _box(panel, known, index)
            words.append(f"{metric}, {group.label}: {_quartiles(known)}")
        labels = apart([group.label for group in groups])
        panel.set_yticks(range(len(groups)), labels)
        panel.yaxis.set_visible(len(groups) > 1)
        panel.set(ylim=(len(groups) - 0.4, -0.6))
        if score.percent:
            panel.set_xlim(-2, 102)
        elif panel is not axes[0]:
            panel.sharex(axes[0])
        name = score.metric if score.label else score.metric.upper()
        panel.set_xlabel(f"{metric} {name} of a client's model{score.axis}")
        panel.grid(visible=False, axis="y")
    name = f"{score.metric}{score.axis} of the clients' models"
    return worded(figure, f"{name[0].upper()}{name[1:]}. {'; '.join(words)}.")


def _quartiles(values: np.ndarray) -> str:
    if not values.size:
        return "not measured"
    least, low, middle, high, most = map(number, np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    return f"median {middle}, quartiles {low} and {high}, {least} to {most}, {values.size} models"


def _box(axes: Axes, values: np.ndarray, index: int) -> None:
    colour, _ = look(index)
    if values.size <= 400:
        # Golden-ratio steps spread the dots without drawing random numbers.
        jitter = (np.arange(values.size) * 0.618 % 1 - 0.5) * 0.5
        size = 4.5 if values.size <= 40 else 2.5
        axes.plot(values, index + jitter, "o", color=colour, markersize=size, alpha=0.5, mew=0)
    lines = {"color": INK, "linewidth": 0.9}
    axes.boxplot(
        values,
        positions=[index],
        widths=0.5,
        orientation="horizontal",
        showfliers=False,
        manage_ticks=False,
        boxprops=lines,
        whiskerprops=lines,
        capprops=lines,
        medianprops={"color": INK, "linewidth": 2.2},
    )
