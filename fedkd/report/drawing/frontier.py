"""What accuracy costs: bytes and virtual seconds, and who is on the Pareto front."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..reader import Run
from ..statistics import Group, estimate
from .problems import parted


@dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes
    ----------
    title, unit : str
        Of the axis.
    value : callable
        Run -> number, None where it was not measured.
    """

    title: str
    unit: str
    value: Callable[[Run], float | None]


BYTES = ("bytes_up", "bytes_down")

COSTS = (
    Cost("bytes up and down, whole run", "B", lambda r: sum(r.summary[key] for key in BYTES)),
    Cost("virtual seconds, whole run", "s", lambda r: r.summary.get("virtual_seconds")),
)


@dataclass(frozen=True)
class Point:
    """A method in one problem: means over seeds and sample standard deviations."""

    label: str
    cost: float
    score: float
    cost_std: float
    score_std: float
    seeds: int
    ahead: bool = False
    """Whether it is on the front."""


def front(costs: Sequence[float], scores: Sequence[float], more: bool = True) -> list[bool]:
    """Say which points no other one beats: none costs as little and scores as well, and one better.

    Parameters
    ----------
    costs, scores : sequences ``[points]``
        Less cost is better.
    more : bool
        Whether a higher score is better.

    Examples
    --------
    >>> front([1, 2, 3, 3], [0.5, 0.4, 0.9, 0.8])
    [True, False, True, False]
    >>> front([1, 2], [5.0, 4.0], more=False)
    [True, True]
    """
    price, worth = np.array(costs, np.float64), np.array(scores, np.float64) * (1 if more else -1)
    beaten = [
        bool(((price <= p) & (worth >= w) & ((price < p) | (worth > w))).any())
        for p, w in zip(price, worth, strict=True)
    ]
    return [not each for each in beaten]


def problems(groups: Sequence[Group]) -> dict[str, list[tuple[str, list[Run]]]]:
    """Return for each problem the methods, by label, and their finished runs."""
    found: dict[str, list[tuple[str, list[Run]]]] = {}
    for group in groups:
        problem, method = parted(group)
        runs = [run for run in group.runs if run.finished]
        if runs:
            found.setdefault(problem, []).append((method, runs))
    return found


def points(methods: Sequence[tuple[str, list[Run]]], cost: Cost, name: str) -> list[Point]:
    """Return a point for each method that has both numbers, the cheapest first.

    Parameters
    ----------
    methods : sequence
        Labels and runs, as in `problems`.
    cost : Cost
        What it costs.
    name : str
        ``local`` or ``global``.
    """
    score, found = methods[0][1][0].score, []
    for label, runs in methods:
        spent = estimate(cost.value(run) for run in runs)
        got = estimate(run.summary[f"score_{name}"]["last"] for run in runs)
        if spent.n and got.n:
            found.append(Point(label, spent.mean, got.mean, spent.std, got.std, got.n))
    ahead = front([p.cost for p in found], [p.score for p in found], score.more)
    known = [Point(**{**vars(p), "ahead": a}) for p, a in zip(found, ahead, strict=True)]
    return sorted(known, key=lambda point: point.cost)
