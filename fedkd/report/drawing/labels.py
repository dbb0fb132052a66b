"""Active learning: accuracy against the number of labels used."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..reader import Run
from ..statistics import Group, Runs, as_groups, estimate
from .style import GROUPS, WIDTH, canvas, legend_below, look, styled
from .tracing import band, trace

COLUMN = "alma_global"
"""The accuracy of the curves: on the whole official test split."""


def uses_labels(run: Run) -> bool:
    """Say whether a run is one of active learning."""
    return "labels" in run.rounds.column_names


def label_curve(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(labels, accuracy)``, a point a cycle: the last measurement of each."""
    cycle, labels, accuracy = (run.column(name) for name in ("cycle", "labels", COLUMN))
    known = np.flatnonzero(np.isfinite(accuracy))
    last = [known[cycle[known] == number][-1] for number in np.unique(cycle[known])]
    return labels[last], accuracy[last]


def imbalance_curve(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(labels, imbalance ratio)``, a point a cycle; infinite where a class has no label.

    The ratio is that of the most frequent class among all clients' labels to the rarest.
    """
    labels, ratio = run.column("labels"), run.column("imbalance")
    known = ~np.isnan(ratio)
    return labels[known], ratio[known]


def last_imbalance(runs: Sequence[Run]) -> float:
    """Return the ratio after the last query, mean over runs; NaN where nothing was recorded.

    It is infinite where it is in one run: to leave that out would make it look better.
    """
    last = [ratio[-1] if len(ratio) else math.nan for _, ratio in map(imbalance_curve, runs)]
    return float(np.mean(last))


def shown(value: float, digits: int = 1) -> str:
    """Return a number as people write it.

    Examples
    --------
    >>> shown(3.14), shown(float("nan")), shown(float("inf"))
    ('3.1', '-', '∞')
    """
    if math.isnan(value):
        return "-"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def label_area(run: Run) -> float | None:
    """Return the area under the curve, divided by the labels it spans: a mean accuracy.

    The trapezoidal rule, so a curve of one point has that point's accuracy.
    """
    from sklearn.metrics import auc

    labels, accuracy = label_curve(run)
    if not len(labels):
        return None
    span = labels[-1] - labels[0]
    return float(auc(labels, accuracy) / span) if span else float(accuracy[-1])


def paired(first: Group, other: Group) -> tuple[float, float, int] | None:
    """Return mean and 95 % half-width of the difference in area, over the seeds both have.

    Returns
    -------
    tuple or None
        ``(other - first, half-width, seeds)``; the half-width is Student's, NaN for one seed.
    """
    from scipy.stats import t

    areas = [dict(zip(g.seeds, map(label_area, g.runs), strict=True)) for g in (first, other)]
    pairs = [(areas[0][seed], areas[1][seed]) for seed in areas[0] if seed in areas[1]]
    found = estimate(b - a for a, b in pairs if a is not None and b is not None)
    if not found.n:
        return None
    width = found.se * t.ppf(0.975, found.n - 1) if found.n > 1 else math.nan
    return found.mean, float(width), found.n


def differences(groups: Sequence[Group]) -> list[str]:
    """Return a line for each group but the first: how its area differs from the first's."""
    if not groups or not all(uses_labels(run) for group in groups for run in group.runs):
        return []
    lines = []
    for group in groups[1:]:
        found = paired(groups[0], group)
        if found is not None and found[2] > 1:
            mean, width, seeds = (100 * found[0], 100 * found[1], found[2])
            lines.append(
                f"area, {group.label} minus {groups[0].label}: {mean:+.1f} points "
                f"(95 % interval {mean - width:+.1f} to {mean + width:+.1f}, "
                f"paired over {seeds} seeds)"
            )
    return lines


@styled
def label_curves(runs: Runs) -> Figure:
    """Draw accuracy against labels; the band is one standard deviation over seeds."""
    return _against_labels(runs, label_curve, "ALMA global (%)", 100)


@styled
def imbalance_figure(runs: Runs) -> Figure:
    """Draw the imbalance ratio of the labelled pools against labels, on a logarithmic axis.

    A point is missing where a class has no label in one of the runs.
    """
    figure = _against_labels(runs, imbalance_curve, "most frequent class / rarest", 1)
    axes = figure.axes[0]
    if any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.text(0.5, 0.5, "infinite throughout", ha="center", transform=axes.transAxes)
        axes.set_yticks([])
    return figure


def _against_labels(
    runs: Runs, curve: Callable[[Run], tuple[np.ndarray, np.ndarray]], title: str, scale: float
) -> Figure:
    groups = as_groups(runs)
    figure, (axes,) = canvas(WIDTH, 3.4)
    for index, group in enumerate(groups):
        curves = [curve(run) for run in group.runs]
        length = min(len(labels) for labels, _ in curves)
        labels = np.mean([labels[:length] for labels, _ in curves], axis=0)
        values = scale * np.array([found[:length] for _, found in curves])
        values = np.where(np.isfinite(values).all(axis=0), values, np.nan)
        mean = values.mean(axis=0)
        trace(axes, labels, mean, index, len(groups), label=group.label)
        if len(curves) > 1:
            spread, faint = values.std(axis=0, ddof=1), band(len(groups))
            axes.fill_between(labels, mean - spread, mean + spread, color=look(index)[0], **faint)
    axes.set(xlabel="labels used, all clients", ylabel=title)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    if len(groups) > 1:
        legend_below(figure, axes)
    return figure


@styled
def queried_figure(runs: Runs) -> Figure:
    """Draw how many samples of each class were labelled on request, mean over seeds."""
    groups = as_groups(runs)
    figure, (axes,) = canvas(WIDTH, 3.4)
    width = 0.8 / len(groups)
    for index, group in enumerate(groups):
        counts = np.mean([queried(run) for run in group.runs], axis=0)
        place = np.arange(len(counts)) - 0.4 + width * (index + 0.5)
        axes.bar(place, counts, width, label=group.label, color=GROUPS[index % len(GROUPS)])
    axes.set(xlabel="class", ylabel="labels asked for")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="x")
    if len(groups) > 1:
        legend_below(figure, axes)
    return figure


def queried(run: Run) -> np.ndarray:
    """Return how many samples of each class were labelled on request ``[classes]``."""
    names = [name for name in run.rounds.column_names if name.startswith("queried_")]
    ordered = sorted(names, key=lambda name: int(name.removeprefix("queried_")))
    return np.array([np.nansum(run.column(name)) for name in ordered])
