"""What a figure shows, in numbers: its alternative text."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

MOST = 12
"""Curves or bars of an axes that are told; of more there is the number."""


def told(figure: Figure) -> str:
    """Return the words a figure function has given (`worded`), or else what is in its axes.

    Of curves these are the first and the last point, of bars their lengths, of maps the range.

    Examples
    --------
    >>> figure = Figure()
    >>> axes = figure.subplots()
    >>> _ = axes.plot([1, 5], [20.0, 31.46], label="knfu"), axes.set(xlabel="round", ylabel="%")
    >>> told(figure)
    '% against round: knfu 20 at 1, 31.5 at 5.'
    """
    if words := str(figure.get_label()):
        return words
    parts = [_axes(axes) for axes in figure.axes if axes.axison and not _is_colour_bar(axes)]
    return " ".join(part for part in parts if part)


def number(value: float) -> str:
    """Return a number in about three digits.

    Examples
    --------
    >>> number(93.664), number(0.01649), number(3265920.0), number(float("nan"))
    ('93.7', '0.0165', '3,265,920', 'none')
    """
    if not np.isfinite(value):
        return "none"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _is_colour_bar(axes: Axes) -> bool:
    return axes.get_label() == "<colorbar>"


def _axes(axes: Axes) -> str:
    """Return a sentence about an axes, or nothing where it is empty."""
    bars = [each for each in axes.containers if isinstance(each, BarContainer)]
    lengthwise = bool(bars) and bars[0].orientation == "horizontal"
    quantity, along = axes.get_ylabel(), axes.get_xlabel()
    if lengthwise:
        quantity, along = along, quantity
    names = (axes.yaxis if lengthwise else axes.xaxis).get_ticklabels()
    ticks = dict(enumerate(text.get_text() for text in names)) if lengthwise else {}
    found = [*_curves(axes), *(_bars(each, ticks) for each in bars), *_maps(axes)]
    if not found:
        return ""
    more = [f"and {len(found) - MOST} more"] * (len(found) > MOST)
    title = axes.get_title()
    head = " ".join(filter(None, [title, quantity, f"against {along}" if along else ""]))
    return f"{head}: {'; '.join([*found[:MOST], *more])}."


def _curves(axes: Axes) -> Iterator[str]:
    """Yield first and last point of each curve that the legend names, or would name."""
    for line in axes.lines:
        label = str(line.get_label())
        across, up = (np.asarray(data, np.float64) for data in line.get_data())
        known = np.flatnonzero(np.isfinite(up))
        if label.startswith("_") or not known.size:
            continue
        ends = dict.fromkeys((known[0], known[-1]))
        points = ", ".join(f"{number(up[end])} at {number(across[end])}" for end in ends)
        yield f"{label} {points}"


def _bars(bars: BarContainer, ticks: dict[int, str]) -> str:
    """Return the lengths of one colour's bars, with their ticks' names where all have one."""
    lengths = np.asarray(bars.datavalues, np.float64)
    label = str(bars.get_label())
    start = "" if label.startswith("_") else f"{label} "
    if len(lengths) > MOST:
        return f"{start}{number(lengths.min())} to {number(lengths.max())}, {len(lengths)} bars"
    names = [ticks.get(place, "") for place in range(len(lengths))]
    return start + ", ".join(
        f"{number(length)}{f' ({name})' if name and all(names) else ''}"
        for length, name in zip(lengths, names, strict=True)
    )


def _maps(axes: Axes) -> Iterator[str]:
    """Yield the range of each map."""
    for image in axes.images:
        values = np.ma.filled(np.ma.asarray(image.get_array()).astype(float), np.nan)
        if values.ndim == 2:
            low, mean, high = np.nanmin(values), np.nanmean(values), np.nanmax(values)
            shape = f"{values.shape[0]} by {values.shape[1]} cells"
            yield f"{shape}, {number(low)} to {number(high)}, mean {number(mean)}"
