"""Pictures of the partition: how many samples of which class every client holds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .maps import class_colours
from .order import seriated
from .style import GROUPS, INK, WIDTH, canvas, legend_below, short, styled, worded
from .told import number

NAMED = 40
"""Clients up to which each has a bar with its name: of more there is a map."""

BARRED = 20
"""Classes up to which bars are told apart by colour."""

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
    """Draw how many samples of each class every client holds; alike clients are side by side.

    Few clients have a bar each, parted by class. Many have a column of a map, each class' share of
    the client's samples, and above it how many samples these are.

    Parameters
    ----------
    histogram : array ``[clients, classes]``
        Sample counts.
    class_names : sequence of str, optional
        For legend or axis; numbers by default.
    width : float
        Inches.
    client_names : sequence of str, optional
        Written below the bars; numbers by default.
    values : mapping, optional
        Numbers ``[n]`` that every client's samples have, by what they are called: a map of each
        below, with a column for a client's histogram.
    """
    order = seriated(histogram)
    counts = np.asarray(histogram, np.float64)[order]
    clients, classes = counts.shape
    names = [str(name) for name in (class_names if class_names is not None else range(classes))]
    bars = clients <= NAMED and classes <= BARRED
    heights = ([3.3] if bars else [0.7, 3.2]) + [2.2] * len(values or {})
    figure, panels = canvas(width, sum(heights), rows=len(heights), ratios=heights)
    if bars:
        _bars(panels[0], counts, names)
        legend_below(figure, panels[0])
    else:
        _sizes(panels[0], counts)
        _shares(figure, panels[1], counts, names)
    for panel, (quantity, numbers) in zip(panels[2 - bars :], (values or {}).items(), strict=True):
        _histograms(figure, panel, quantity, [numbers[client] for client in order])
    called = client_names if client_names is not None else [str(each) for each in range(clients)]
    for panel in panels:
        _client_axis(panel, [short(called[client], 20) for client in order], panel is panels[-1])
    return worded(figure, _words(counts))


def _bars(axes: Axes, counts: np.ndarray, names: Sequence[str]) -> None:
    """Draw a bar a client, parted by class."""
    clients, classes = counts.shape
    # One outline a class is quick to draw; gaps of height zero part the bars.
    edges = (np.arange(clients)[:, None] + np.array([-0.45, 0.45])).ravel()
    heights = np.insert(counts.cumsum(axis=1), slice(1, None), 0, axis=0)
    floor = np.zeros(len(heights))
    for label, colour in enumerate(class_colours(classes)):
        top = heights[:, label]
        axes.stairs(top, edges, baseline=floor, fill=True, color=colour, label=names[label])
        floor = top
    axes.set(ylabel="samples", ylim=(0, None))


def _sizes(axes: Axes, counts: np.ndarray) -> None:
    """Draw how many samples each client holds."""
    places = np.arange(len(counts) + 1) - 0.5
    axes.stairs(counts.sum(axis=1), places, fill=True, color=GROUPS[0])
    axes.set(ylabel="samples", ylim=(0, None))
    axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))


def _shares(figure: Figure, axes: Axes, counts: np.ndarray, names: Sequence[str]) -> None:
    """Draw each class' share of each client's samples: a column a client, a row a class."""
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(
        percent.T, vmin=0, vmax=100, cmap="cividis", aspect="auto", interpolation="nearest"
    )
    bar = figure.colorbar(image, ax=axes, label="% of a client's", pad=0.02)
    bar.outline.set_edgecolor(INK)
    axes.set_ylabel("class")
    if len(names) <= BARRED:
        axes.set_yticks(range(len(names)), [short(name, 14) for name in names])


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
    axes.set_ylabel(label)


def _client_axis(axes: Axes, names: Sequence[str], lowest: bool) -> None:
    """Name the clients below the lowest panel, or say how many there are."""
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.grid(visible=False)
    if not lowest or len(names) > NAMED:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(names):,} clients, alike ones side by side" if lowest else "")
        return
    long = max(map(len, names), default=0) > 2 or len(names) > 30
    axes.set_xticks(range(len(names)), names, rotation=90 if long else 0)
    axes.tick_params(axis="x", labelsize=9 if len(names) <= 20 else 7)
    axes.set_xlabel("client")


def _words(counts: np.ndarray) -> str:
    """Return what the picture shows, in numbers."""
    sizes, held = counts.sum(axis=1), (counts > 0).sum(axis=1)
    shares = counts.max(axis=1) / np.maximum(sizes, 1)
    return (
        f"{number(sizes.sum())} samples of {counts.shape[1]} classes (or bins) at {len(counts):,} "
        f"clients: {number(sizes.min())} to {number(sizes.max())} a client, of {held.min()} to "
        f"{held.max()} classes; the main class has {shares.mean():.2f} of a client's samples in "
        f"the mean."
    )
