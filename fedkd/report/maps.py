"""Pictures of structure between clients: the partition and the mixing weights."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..errors import ConfigError
from .reader import Run
from .style import CLASSES, INK, WIDTH, canvas, legend_below, styled

NAMED = 40
"""Clients whose names a picture has room for."""

INTERVALS = 30
"""Of equal width, between the least and the greatest of all clients' numbers."""


@styled
def partition_figure(
    histogram: np.ndarray,
    class_names: Sequence[str] | None = None,
    width: float = WIDTH,
    client_names: Sequence[str] | None = None,
    values: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> Figure:
    """Draw how many samples of each class every client holds.

    Parameters
    ----------
    histogram : array ``[clients, classes]``
        Sample counts.
    class_names : sequence of str, optional
        For the legend; numbers by default.
    width : float
        Inches.
    client_names : sequence of str, optional
        Written below the bars, where there is room; numbers by default.
    values : mapping, optional
        Numbers ``[n]`` that every client's samples have, by what they are called: a map of each
        below, with a column for a client's histogram.
    """
    counts = np.asarray(histogram, np.float64)
    clients, classes = counts.shape
    values = values or {}
    figure, (axes, *below) = canvas(width, 3.3 + 2.2 * len(values), rows=1 + len(values))
    colours = class_colours(classes)
    # One outline a class is quick to draw; where even those are too much for a page, pixels.
    pixels = counts.size > 20_000
    heights, edges = counts.cumsum(axis=1), np.arange(clients + 1) - 0.5
    if clients <= 40:  # few enough to part the bars, by gaps of height zero
        edges = (np.arange(clients)[:, None] + np.array([-0.45, 0.45])).ravel()
        heights = np.insert(heights, slice(1, None), 0, axis=0)
    floor = np.zeros(len(heights))
    for label in range(classes):
        top = heights[:, label]
        name = str(class_names[label]) if class_names is not None else str(label)
        bars = axes.stairs(top, edges, baseline=floor, fill=True, color=colours[label], label=name)
        bars.set_rasterized(pixels)
        floor = top
    axes.set(xlabel="client", ylabel="samples", xlim=(-0.5, clients - 0.5), ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if client_names is not None and clients <= NAMED:
        short = [name if len(name) <= 20 else f"{name[:19]}…" for name in client_names]
        axes.set_xticks(range(clients), short, rotation=90)
    axes.grid(visible=False)
    if classes <= 20:
        legend_below(figure, axes)
    else:
        _class_bar(figure, axes, classes)
    for panel, (quantity, numbers) in zip(below, values.items(), strict=True):
        _histograms(figure, panel, quantity, numbers)
    return figure


def _histograms(figure: Figure, axes: Axes, label: str, numbers: Sequence[np.ndarray]) -> None:
    """Draw each client's histogram, common intervals for all, as a column of a map."""
    edges = np.histogram_bin_edges(np.concatenate([*numbers]).astype(np.float64), INTERVALS)
    shares = [np.histogram(own, edges)[0] / max(len(own), 1) for own in numbers]
    places = np.arange(len(numbers) + 1) - 0.5
    percent = 100 * np.array(shares).T
    limit = float(np.quantile(percent[percent > 0], 0.95))  # a client of one value is no measure
    image = axes.pcolormesh(places, edges, percent, vmin=0, vmax=limit, cmap="cividis")
    image.set_rasterized(True)
    extend = "max" if percent.max() > limit else "neither"
    figure.colorbar(image, ax=axes, label="% of a client's", extend=extend)
    axes.set(xlabel="client", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False)


@styled
def weights_figure(run: Run, round: int | None = None) -> Figure:
    """Draw who learned from whom: row = learner, column = source, rows sum to 1.

    Clients are ordered by the class they hold most of, then by index; lines part the classes.

    Raises
    ------
    ConfigError
        If the run kept no weights of that round.
    """
    found = run.weights(round)
    if found is None:
        when = "" if round is None else f" of round {round}"
        raise ConfigError("strategy", run.strategy, f"the run has no mixing weights{when}")
    clients, weights = found
    order, dominant = class_order(clients, run.histogram)
    weights = weights[np.ix_(order, order)]
    figure, (axes,) = canvas(WIDTH, 4.2)
    # Clients that rely on themselves must not take the contrast from all other weights.
    others = weights[~np.eye(len(weights), dtype=bool)]
    limit = float(np.quantile(others, 0.995)) if others.size else 0.0
    limit = limit or float(weights.max()) or 1.0
    image = axes.imshow(weights, vmin=0, vmax=limit, cmap="cividis")
    extend = "max" if weights.max() > limit * 1.001 else "neither"
    figure.colorbar(image, ax=axes, label="weight", extend=extend, shrink=0.85)
    axes.grid(visible=False)
    if dominant is None:
        axes.set(xlabel="source (client)", ylabel="learner (client)")
    else:
        what = "class" if run.summary["task"] == "classification" else "bin of the target"
        _part_classes(axes, dominant[order], what)
    return figure


def class_order(
    clients: np.ndarray, histogram: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the rows ordered by dominant class, then client; and each row's dominant class."""
    if histogram is None:
        return np.arange(len(clients)), None
    dominant = np.asarray(histogram)[clients].argmax(axis=1)
    return np.lexsort((clients, dominant)), dominant


def class_colours(classes: int) -> list[str]:
    """Return a colour a class, apart in any colour vision up to ten, a ramp beyond.

    Examples
    --------
    >>> len(class_colours(10)), len(set(class_colours(100)))
    (10, 100)
    """
    if classes <= len(CLASSES):
        return list(CLASSES[:classes])
    ramp = mpl.colormaps["viridis"]
    return [to_hex(ramp(label / (classes - 1))) for label in range(classes)]


def _part_classes(axes: Axes, dominant: np.ndarray, what: str) -> None:
    """Draw lines between the classes, or bins, and name each class at the middle of its clients."""
    labels, starts = np.unique(dominant, return_index=True)
    ends = np.append(starts[1:], len(dominant))
    few = len(labels) <= 20
    for start in starts[1:] if few else ():
        axes.axhline(start - 0.5, color="white", linewidth=0.5, alpha=0.6)
        axes.axvline(start - 0.5, color="white", linewidth=0.5, alpha=0.6)
    middles = (starts + ends - 1) / 2
    shown = (ends - starts) >= len(dominant) / 40 if few else labels % 10 == 0
    axes.set_xticks(middles[shown], [str(label) for label in labels[shown]])
    axes.set_yticks(middles[shown], [str(label) for label in labels[shown]])
    axes.tick_params(length=0)
    axes.set_xlabel(f"source, by its main {what}")
    axes.set_ylabel(f"learner, by its main {what}")


def _class_bar(figure: Figure, axes: Axes, classes: int) -> None:
    norm = mpl.colors.Normalize(0, classes - 1)
    scale = mpl.cm.ScalarMappable(norm, "viridis")
    bar = figure.colorbar(scale, ax=axes, label="class", pad=0.02)
    bar.outline.set_edgecolor(INK)
