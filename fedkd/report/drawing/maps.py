"""The map of mixing weights: who learned from whom."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...errors import ConfigError
from ..reader import Run
from .order import seriated
from .style import CLASSES, INK, WIDTH, canvas, styled, worded
from .told import number

LETTERED = 12
"""Clients up to which a cell has room for its number."""

LEAST = 1e-4
"""Where the logarithmic scale begins: what is less has its lowest colour."""


@styled
def weights_figure(run: Run, round: int | None = None, *, log: bool = False) -> Figure:
    """Draw who learned from whom: row = learner, column = source, rows sum to 1.

    The colours' scale is the same in all maps: 0 to 1. Clients with alike labels are side by side,
    as in `partition_figure`; lines part longer stretches of one main class.

    Parameters
    ----------
    run : Run
        One whose strategy has mixing weights.
    round : int, optional
        Which round; the last one that has weights by default.
    log : bool
        Whether the scale is logarithmic, from 0.0001 to 1: it tells small weights apart.

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
    # Zero has no logarithm; below the scale it has the lowest colour, as what is nearly zero.
    norm = LogNorm(LEAST, 1, clip=True) if log else Normalize(0, 1)
    shown = np.maximum(weights, LEAST) if log else weights
    image = axes.imshow(shown, norm=norm, cmap="cividis", interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, label="weight", shrink=0.8)
    bar.outline.set_edgecolor(INK)
    if log:
        bar.ax.set_yticks([LEAST, 1e-3, 1e-2, 1e-1, 1], [f"≤ {LEAST}", "0.001", "0.01", "0.1", "1"])
    axes.grid(visible=False)
    if len(clients) <= LETTERED:
        _numbers(axes, weights, norm)
    if dominant is None or len(clients) <= LETTERED:
        _named(axes, clients[order])
    else:
        what = "class" if run.summary["task"] == "classification" else "bin of the target"
        _part_classes(axes, dominant[order], what)
    return worded(figure, _words(weights))


def class_order(
    clients: np.ndarray, histogram: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the rows in an order that has alike labels side by side; and each row's main class.

    Parameters
    ----------
    clients : array ``[n]``
        Row numbers of `histogram`.
    histogram : array ``[clients, classes]``, optional
        Sample counts; without it rows keep their order.

    Returns
    -------
    array ``[n]``, array ``[n]`` or None
        Places in `clients`, and for each of `clients` the class that it holds most of.
    """
    if histogram is None:
        return np.arange(len(clients)), None
    own = np.asarray(histogram)[clients]
    return seriated(own), own.argmax(axis=1)


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


def _numbers(axes: Axes, weights: np.ndarray, norm: Normalize) -> None:
    """Write each weight into its cell."""
    size = 9 if len(weights) <= 8 else 7
    for (row, column), weight in np.ndenumerate(weights):
        ink = "black" if norm(max(weight, LEAST)) > 0.5 else "white"
        cell = axes.text(column, row, written(float(weight)), fontsize=size, color=ink)
        cell.set(ha="center", va="center")


def written(weight: float) -> str:
    """Return a weight in as few characters as two digits need.

    Examples
    --------
    >>> [written(weight) for weight in (0.0, 4e-9, 0.254, 1.0)]
    ['0', '~0', '.25', '1']
    """
    if weight in (0, 1):
        return f"{weight:.0f}"
    text = f"{weight:.2f}".removeprefix("0")
    return {".00": "~0", "1.00": "~1"}.get(text, text)


def _named(axes: Axes, clients: np.ndarray) -> None:
    axes.set(xlabel="source (client)", ylabel="learner (client)")
    if len(clients) <= LETTERED:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(range(len(clients)), [str(client) for client in clients])
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))


def _part_classes(axes: Axes, dominant: np.ndarray, what: str) -> None:
    """Part stretches of clients with one main class, or bin, by lines; name the longer ones."""
    starts = np.flatnonzero(np.diff(dominant, prepend=dominant[0] - 1))
    ends = np.append(starts[1:], len(dominant))
    middles, labels = (starts + ends - 1) / 2, dominant[starts]
    long = (ends - starts) >= len(dominant) / 25
    for start in starts[1:][long[1:] | long[:-1]]:
        axes.axhline(start - 0.5, color="white", linewidth=0.5, alpha=0.6)
        axes.axvline(start - 0.5, color="white", linewidth=0.5, alpha=0.6)
    axes.set_xticks(middles[long], [str(label) for label in labels[long]])
    axes.set_yticks(middles[long], [str(label) for label in labels[long]])
    axes.tick_params(length=0)
    axes.set_xlabel(f"source, by its main {what}")
    axes.set_ylabel(f"learner, by its main {what}")


def _words(weights: np.ndarray) -> str:
    """Return what a map shows, in numbers."""
    own, others = np.diag(weights), weights[~np.eye(len(weights), dtype=bool)]
    low, mean, high = (number(float(value)) for value in (own.min(), own.mean(), own.max()))
    words = f"Mixing weights of {len(weights)} learners and as many sources. "
    words += f"On themselves: mean {mean}, {low} to {high}."
    if not others.size:
        return words
    mean, high = number(float(others.mean())), number(float(others.max()))
    above = f"{int((others > 0.01).sum()):,} of {others.size:,} are above 0.01"
    return f"{words} On others: mean {mean}, at most {high}; {above}."
