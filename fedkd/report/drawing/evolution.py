"""Mixing weights over the rounds: the map of the first, a middle and the last one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..reader import Run
from ..statistics import Group
from .drawn import Drawn
from .maps import class_order
from .style import INK, canvas, styled

SIDE = 1.4
"""Inches of a map."""


@dataclass(frozen=True)
class Evolution:
    """Maps of weights, all of the same clients.

    Attributes
    ----------
    rounds : list of int
        First, middle and last of those whose weights were kept; two if there are no more.
    clients : array ``[n]``
        All that took part in one of these rounds, those with alike labels side by side.
    maps : array ``[rounds, n, n]``
        Row: the learner; column: the source. NaN for who was away.
    classes : array ``[n]`` or None
        The main class of each, if it is known.
    """

    rounds: list[int]
    clients: np.ndarray
    maps: np.ndarray
    classes: np.ndarray | None

    def own(self) -> list[float]:
        """Return the mean weight of clients for themselves, for each round."""
        return [float(np.nanmean(np.diagonal(each))) for each in self.maps]

    def changed(self) -> float:
        """Return the mean total variation between a client's first weights and its last.

        Over clients that were there both times; NaN if there are none.
        """
        first, last = self.maps[0], self.maps[-1]
        both = np.isfinite(np.diagonal(first)) & np.isfinite(np.diagonal(last))
        if not both.any():
            return float("nan")
        apart = np.abs(np.nan_to_num(first) - np.nan_to_num(last))[both].sum(axis=1) / 2
        return float(apart.mean())


def evolution(run: Run) -> Evolution | None:
    """Return the weights of up to three rounds; None where fewer than two have any."""
    rounds = run.weighted()
    if len(rounds) < 2:
        return None
    chosen = sorted({rounds[0], rounds[len(rounds) // 2], rounds[-1]})
    found = [pair for number in chosen if (pair := run.weights(number)) is not None]
    every = np.unique(np.concatenate([clients for clients, _ in found]))
    order, classes = class_order(every, run.histogram)
    maps = np.full((len(chosen), len(every), len(every)), np.nan)
    for each, (clients, weights) in zip(maps, found, strict=True):
        places = np.searchsorted(every, clients)
        each[np.ix_(places, places)] = weights
    maps = maps[:, order][:, :, order]
    return Evolution(chosen, every[order], maps, None if classes is None else classes[order])


def drawn(groups: Sequence[Group]) -> Iterator[Drawn]:
    """Yield the maps of the first seed, where one group is shown."""
    run = groups[0].runs[0]
    found = evolution(run) if len(groups) == 1 else None
    if found is None:
        return
    seed = f", seed {run.config['seed']}" if len(groups[0].runs) > 1 else ""
    away = " Hatched: not in this round." * bool(np.isnan(found.maps).any())
    main = " Clients with alike labels are side by side." if found.classes is not None else ""
    caption = f"Mixing weights over rounds{seed}, on one scale from 0 to 1.{main}{away}"
    yield Drawn(evolution_figure(found), caption, _told(found))


def _told(found: Evolution) -> str:
    own = ", ".join(
        f"{share:.2f} in round {number}"
        for number, share in zip(found.rounds, found.own(), strict=True)
    )
    told = f"{len(found.clients)} clients; mean weight of a client for itself: {own}."
    change = found.changed()
    if np.isnan(change):
        return told
    return f"{told} From first to last, {change:.2f} of a client's weight went elsewhere (mean)."


@styled
def evolution_figure(found: Evolution) -> Figure:
    """Draw a map for each round, side by side, on one scale; its steps are of the square root."""
    figure, panels = canvas(SIDE * len(found.rounds) + 0.8, SIDE + 0.6, columns=len(found.rounds))
    norm = PowerNorm(0.5, 0, 1)
    for axes, number, weights in zip(panels, found.rounds, found.maps, strict=True):
        away: Any = {"fc": "none", "ec": INK, "lw": 0, "hatch": "////", "zorder": 0}
        axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, **away))
        axes.imshow(weights, norm=norm, cmap="cividis")
        axes.set_title(f"round {number}", fontsize=10)
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
    panels[len(panels) // 2].set_xlabel("source (client)")
    panels[0].set_ylabel("learner (client)")
    scale = mpl.cm.ScalarMappable(norm, "cividis")
    ticks = [0, 0.1, 0.25, 0.5, 1]
    bar = figure.colorbar(scale, ax=panels, label="weight", ticks=ticks, shrink=0.85)
    bar.ax.minorticks_off()
    bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    return figure
