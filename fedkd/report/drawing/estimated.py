"""What a server takes the clients' label distributions to be, against what they are."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..reader import Run
from ..statistics import Group
from .drawn import Drawn
from .maps import class_order
from .style import GROUPS, INK, WIDTH, canvas, styled

COLUMN = "epd_"
"""What the metric of a class begins with: KnFu's estimated probability distribution."""


@dataclass(frozen=True)
class Estimated:
    """Clients' label distributions and the server's estimates of them.

    Attributes
    ----------
    clients : array ``[n]``
        Who has samples and was ever estimated, ordered by their main class.
    true, estimate : array ``[n, classes]``
        Shares; rows sum to 1. An estimate is that of the last round the client was in.
    distance : array ``[n]``
        Total variation between the two, from 0 (equal) to 1.
    prior : float
        Mean of that distance if everybody's estimate were the shares of all clients together.
    """

    clients: np.ndarray
    true: np.ndarray
    estimate: np.ndarray
    distance: np.ndarray
    prior: float


def estimated(run: Run) -> Estimated | None:
    """Return what a run recorded; None where its strategy estimates no label distributions.

    None also where the distributions are not over classes (those of regressions are over bins of
    predictions, which are no bins of targets), the clients' labels are not known, or there is only
    one client.
    """
    if run.histogram is None or run.summary["task"] != "classification":
        return None
    counts = np.asarray(run.histogram, np.float64)
    clients, found = _recorded(run)
    if found.shape[1] != counts.shape[1] or np.isnan(found).any():
        return None
    held = counts[clients].sum(axis=1) > 0
    clients, found = clients[held], found[held]
    if len(clients) < 2:
        return None
    true = counts[clients] / counts[clients].sum(axis=1, keepdims=True)
    order, _ = class_order(clients, counts)
    everybody = counts.sum(axis=0) / counts.sum()
    return Estimated(
        clients[order],
        true[order],
        found[order],
        variation(true, found)[order],
        float(variation(true, everybody).mean()),
    )


def _recorded(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return clients ``[n]`` and the last estimate of each ``[n, classes]``."""
    rows = run.clients.filter(pc.starts_with(run.clients["metric"].cast(pa.string()), COLUMN))
    table = rows.to_pandas().astype({"metric": str}).sort_values("round", kind="stable")
    last = table.drop_duplicates(["client", "metric"], keep="last")
    wide = last.pivot(index="client", columns="metric", values="value")
    names = sorted(wide.columns, key=lambda name: int(name.removeprefix(COLUMN)))
    return wide.index.to_numpy(), wide[names].to_numpy(np.float64)


def variation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the total variation between distributions, half the sum of absolute differences.

    Examples
    --------
    >>> variation(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.25, 0.75]])).tolist()
    [1.0, 0.25]
    """
    apart: np.ndarray = np.abs(one - other).sum(axis=-1) / 2
    return apart


def drawn(groups: Sequence[Group]) -> Iterator[Drawn]:
    """Yield the estimates of the first seed, where one group is shown and has some."""
    run = groups[0].runs[0]
    found = estimated(run) if len(groups) == 1 else None
    if found is None:
        return
    seed = f" (seed {run.config['seed']})" if len(groups[0].runs) > 1 else ""
    caption = (
        f"Label distributions of the clients, and what the server takes them for{seed}, as of "
        f"each client's last round. Right: total variation, mean {found.distance.mean():.2f}; "
        f"dotted: {found.prior:.2f}, if everybody were taken for the average."
    )
    yield Drawn(estimated_figure(found), caption, _told(found))


def _told(found: Estimated) -> str:
    worst, best = int(found.distance.argmax()), int(found.distance.argmin())
    hits = int((found.true.argmax(axis=1) == found.estimate.argmax(axis=1)).sum())
    return (
        f"{len(found.clients)} clients. Total variation between label distribution and estimate: "
        f"mean {found.distance.mean():.2f}, from {found.distance[best]:.2f} (client "
        f"{found.clients[best]}) to {found.distance[worst]:.2f} (client {found.clients[worst]}); "
        f"{found.prior:.2f} if everybody were taken for the average. The main class is right for "
        f"{hits} of {len(found.clients)}."
    )


@styled
def estimated_figure(found: Estimated) -> Figure:
    """Draw both as maps ``[clients, classes]`` on one scale from 0 to 1, and the distances."""
    clients, classes = found.true.shape
    height = float(np.clip(1.8 + 0.14 * clients, 2.8, 5.4))
    figure, (left, middle, right) = canvas(WIDTH, height, columns=3)
    for axes, shares, title in ((left, found.true, "labels"), (middle, found.estimate, "estimate")):
        scale: Any = {"vmin": 0, "vmax": 1, "cmap": "cividis"}
        image = axes.imshow(shares, aspect="auto", **scale)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("class")
        axes.xaxis.set_major_locator(MaxNLocator(min(classes, 5), integer=True))
        axes.grid(visible=False)
    where: Any = {"location": "bottom", "shrink": 0.9, "aspect": 25}
    figure.colorbar(image, ax=[left, middle], label="share of a client's samples", **where)
    right.barh(range(clients), found.distance, 0.8, color=GROUPS[0])
    right.axvline(found.prior, color=INK, lw=1, ls=":")
    right.set(xlim=(0, 1), ylim=(clients - 0.5, -0.5), xlabel="total variation")
    right.set_title("distance", fontsize=10)
    right.grid(visible=False, axis="y")
    left.set_ylabel("client")
    for axes in (left, middle, right):
        _clients(axes, found.clients, named=axes is left)
    return figure


def _clients(axes: Axes, clients: np.ndarray, *, named: bool) -> None:
    """Name some clients on the vertical axis; the order is that of all panels."""
    step = math.ceil(len(clients) / 30)
    names = [str(client) if named else "" for client in clients[::step]]
    axes.set_yticks(range(0, len(clients), step), names)
    axes.tick_params(axis="y", length=0, labelsize=7)
