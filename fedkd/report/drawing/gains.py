"""Who gains and who loses: each client's own accuracy, against training alone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..reader import Run
from ..statistics import Group
from .drawn import Drawn
from .style import GROUPS, INK, WIDTH, apart, canvas, legend_below, look, styled

ALONE = "local"
"""The strategy whose clients train alone."""

METHODS = (
    *("strategy", "objective", "guard", "distil", "transfer", "compress", "privacy", "secure"),
    *("attack", "engine", "device", "checkpoint", "record", "evaluate"),
)
"""Settings that do not bear on who trains alone: a partner may have others."""

CURVES, MOST = 6, 24
"""Groups up to which each has a curve, and, beyond, a bar."""

SAME = 1e-9
"""A change that is none, but rounding."""


@dataclass(frozen=True)
class Gains:
    """How a group's clients fare against the same clients training alone.

    Attributes
    ----------
    label : str
        The group's.
    change : array ``[n]``
        Of the headline (local), ascending; positive is better, whatever it is. Clients of all
        seeds together; nobody whose number is not known in one of the two runs.
    seeds : int
        Of how many seeds.
    """

    label: str
    change: np.ndarray
    seeds: int

    @property
    def better(self) -> float:
        """Share of clients that are better off."""
        return float((self.change > SAME).mean())

    @property
    def worse(self) -> float:
        """Share of clients that are worse off."""
        return float((self.change < -SAME).mean())


def gains(groups: Sequence[Group]) -> list[Gains]:
    """Return the gains of every group that has a partner: ``local`` with the same seed and data.

    A partner has finished, deals the same partition (not only the same seed), and has the same
    settings where they bear on training alone.
    """
    alone = [(group, run) for group in groups if group.strategy == ALONE for run in group.runs]
    result = []
    for group in groups:
        if group.strategy == ALONE:
            continue
        pairs = [
            _change(run, partner)
            for run in group.runs
            if (partner := _partner(group, run, alone)) is not None
        ]
        if pairs and (change := np.sort(np.concatenate(pairs))).size:
            result.append(Gains(group.label, change, len(pairs)))
    return result


def _partner(group: Group, run: Run, alone: Sequence[tuple[Group, Run]]) -> Run | None:
    fixed = _fixed(group)
    for other, partner in alone:
        finished = run.finished and partner.finished
        same = run.config["seed"] == partner.config["seed"] and fixed == _fixed(other)
        if finished and same and _dealt_alike(run, partner):
            return partner
    return None


def _fixed(group: Group) -> dict[str, str]:
    """Return the settings in which groups differ that bear on training alone."""
    return {k: text for k, text in group.settings.items() if k.partition(".")[0] not in METHODS}


def _dealt_alike(run: Run, partner: Run) -> bool:
    one, other = run.histogram, partner.histogram
    return one is not None and other is not None and np.array_equal(one, other)


def _change(run: Run, partner: Run) -> np.ndarray:
    """Return how much better each client is in `run`, where both are known."""
    (clients, values), (others, before) = run.values("local"), partner.values("local")
    _, here, there = np.intersect1d(clients, others, return_indices=True)
    change = (values[here] - before[there]) * (1 if run.score.more else -1)
    return change[np.isfinite(change)]


def drawn(groups: Sequence[Group]) -> Iterator[Drawn]:
    """Yield the curves, if some group has a partner that trains alone."""
    found = gains(groups)
    if not found:
        return
    score = groups[0].score
    seeds = ", all seeds together" if any(each.seeds > 1 for each in found) else ""
    what = f"{score.title('local')} of each client against training alone (same seed and data)"
    few, shown = len(found) <= CURVES, found[:MOST]
    if few:
        caption = f"{what}, clients in order{seeds}. Beside the names: better / worse off, in %."
        figure = gains_figure(shown, score.scale, _axis(groups[0]))
    else:
        caption = f"{what}{seeds}: how many are better off, how many worse."
        caption += f" The first {MOST} of {len(found)}." * (len(found) > MOST)
        figure = shares_figure(shown)
    yield Drawn(figure, caption, _told(shown, groups[0]))


def _axis(group: Group) -> str:
    score = group.score
    if score.percent:
        return f"change of {score.title('local')} (points)"
    return f"improvement of {score.title('local')}{score.axis}"


def _told(found: Sequence[Gains], group: Group) -> str:
    score, unit = group.score, " points" if group.score.percent else ""
    told = []
    for each in found:
        low, middle, high = (score.text(v) for v in np.quantile(each.change, (0, 0.5, 1)))
        told.append(
            f"{each.label}: {100 * each.better:.0f} % of {each.change.size} clients better, "
            f"{100 * each.worse:.0f} % worse; change from {low} to {high}, median {middle}{unit}."
        )
    return " ".join(told)


@styled
def gains_figure(found: Sequence[Gains], scale: int, title: str) -> Figure:
    """Draw each group's changes in ascending order, against the share of clients.

    Parameters
    ----------
    found : sequence of Gains
        A curve each.
    scale : int
        What changes are multiplied by.
    title : str
        Of the vertical axis.
    """
    figure, (axes,) = canvas(WIDTH, 3.4 + 0.1 * max(0, len(found) - 3))
    axes.axhline(0, color=INK, lw=0.9)
    for index, (each, called) in enumerate(zip(found, _brief(found), strict=True)):
        colour, line = look(index)
        share = 100 * (np.arange(each.change.size) + 0.5) / each.change.size
        few = each.change.size <= 40
        name = f"{called}: {100 * each.better:.0f} / {100 * each.worse:.0f}"
        style: Any = {"color": colour, "ls": line, "lw": 1.6, "ms": 3, "marker": "o" if few else ""}
        axes.plot(share, scale * each.change, label=name, **style)
    axes.set(xlabel="clients, the worst off first (%)", xlim=(0, 100), ylabel=title)
    legend_below(figure, axes)
    return figure


@styled
def shares_figure(found: Sequence[Gains]) -> Figure:
    """Draw a bar for each group: to the right the clients better off, to the left those worse."""
    figure, (axes,) = canvas(1.15 * WIDTH, 1.2 + 0.26 * len(found))
    sides = (("worse off", GROUPS[1], -1), ("better off", GROUPS[0], 1))
    for name, colour, way in sides:
        shares = [100 * (each.better if way > 0 else each.worse) for each in found]
        bars = axes.barh(range(len(found)), way * np.array(shares), 0.75, color=colour, label=name)
        axes.bar_label(
            bars, [f"{share:.0f}" * (share > 0) for share in shares], padding=2, fontsize=7
        )
    axes.axvline(0, color=INK, lw=0.9)
    axes.set_yticks(range(len(found)), _brief(found), fontsize=8)
    axes.set(xlim=(-122, 122), ylim=(len(found) - 0.4, -0.6), xlabel="clients (%)")
    axes.set_xticks([-100, -50, 0, 50, 100], ["100", "50", "0", "50", "100"])
    axes.grid(visible=False, axis="y")
    legend_below(figure, axes)
    return figure


def _brief(found: Sequence[Gains]) -> list[str]:
    """Return labels with the last part of their keys only."""
    return apart([re.sub(r"\b\w+\.(?=\w+=)", "", each.label) for each in found], 48)
