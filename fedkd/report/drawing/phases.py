"""Phase diagrams: who wins where in a sweep over two numeric settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...score import Score
from ..significance import paired
from ..statistics import Group
from .problems import parted

OWN = ("strategy.", "objective.")
"""Settings of methods: an axis only where no other two are."""

MISSING, ALONE, ONE_SEED, OPEN, DECIDED = range(5)
"""What is known of a cell: no number; one method's; fewer than two seeds that the best two share;
zero inside the interval of their difference, or outside."""

Seeds = dict[int, float]
Cells = dict[tuple[str, str, str], Seeds]


@dataclass(frozen=True)
class Phases:
    """A metric over two settings.

    Attributes
    ----------
    keys : tuple of str
        The settings of the columns and of the rows.
    columns, rows : list of str
        Their values in the order of the numbers, ``null`` last.
    arms : list of str
        The methods.
    means : array ``[arms, rows, columns]``
        Over seeds, unscaled; NaN where there is no finished run.
    winner : array ``[rows, columns]``
        Place of the best mean among `arms`; -1 where there is no other method.
    margin : array ``[rows, columns]``
        How much better the winner is than the second, in the mean that `contest` takes.
    state : array ``[rows, columns]``
        `DECIDED`, `OPEN`, `ONE_SEED`, `ALONE` or `MISSING`.
    """

    keys: tuple[str, str]
    columns: list[str]
    rows: list[str]
    arms: list[str]
    means: np.ndarray
    winner: np.ndarray
    margin: np.ndarray
    state: np.ndarray


def axes_of(groups: Sequence[Group]) -> tuple[str, str] | None:
    """Return the two numeric settings in which groups differ; None if there are not just two.

    A setting counts if every group has it, and at least two different numbers, or a number and
    null. Those of methods count only where no other two are.
    """
    keys = dict.fromkeys(key for group in groups for key in group.settings)
    numeric = [key for key in keys if _numeric([group.settings.get(key) for group in groups])]
    free = [key for key in numeric if not key.startswith(OWN)]
    for found in (numeric, free):
        if len(found) == 2:
            return found[0], found[1]
    return None


def number(text: str) -> float:
    """Return a setting's place on an axis; infinity for null, NaN for what is no number.

    Examples
    --------
    >>> sorted(["10", "null", "2", "0.5"], key=number)
    ['0.5', '2', '10', 'null']
    """
    try:
        return math.inf if text == "null" else float(text)
    except ValueError:
        return math.nan


def phases(groups: Sequence[Group], name: str) -> dict[str, Phases]:
    """Return the phases of ``local`` or ``global``, by problem, as `problems` has them.

    Empty without two axes, or without a number: methods are compared on one problem only.
    """
    keys = axes_of(groups)
    if keys is None:
        return {}
    problems: dict[str, list[Group]] = {}
    for group in groups:
        problems.setdefault(parted(group, keys)[0], []).append(group)
    cells = {problem: _cells(some, keys, name) for problem, some in problems.items()}
    score = groups[0].score
    return {problem: _phases(found, keys, score) for problem, found in cells.items() if found}


def _phases(cells: Cells, keys: tuple[str, str], score: Score) -> Phases:
    columns, rows = (sorted({cell[place] for cell in cells}, key=number) for place in (1, 2))
    arms = list(dict.fromkeys(cell[0] for cell in cells))
    means = np.full((len(arms), len(rows), len(columns)), math.nan)
    for (arm, column, row), seeds in cells.items():
        place = arms.index(arm), rows.index(row), columns.index(column)
        means[place] = np.mean([*seeds.values()])
    found = Phases(keys, columns, rows, arms, means, *_blank(means.shape[1:]))
    for row, column in np.ndindex(means.shape[1:]):
        here = {arm: cells.get((arm, columns[column], rows[row]), {}) for arm in arms}
        first, margin, state = contest(here, score)
        found.winner[row, column] = arms.index(first) if first is not None else -1
        found.margin[row, column], found.state[row, column] = margin, state
    return found


def contest(seeds: Mapping[str, Seeds], score: Score) -> tuple[str | None, float, int]:
    """Return the best method, how much better than the second it is, and what is known of that.

    Means are over the seeds that all methods have: one that lacks its worst seed does not win by
    that. Where there are no such seeds, each mean is over the method's own.

    Parameters
    ----------
    seeds : mapping
        Each method's values by seed; may be empty.
    score : Score
        Says whether more is better.

    Examples
    --------
    >>> from fedkd.score import ALMA
    >>> contest({"a": {0: 0.5, 1: 0.6}, "b": {0: 0.75, 1: 0.85}, "c": {}}, ALMA)
    ('b', 0.25, 4)
    >>> contest({"a": {0: 0.5}, "b": {0: 0.75}}, ALMA), contest({"a": {0: 0.5}}, ALMA)
    (('b', 0.25, 2), (None, nan, 1))
    """
    known = {arm: values for arm, values in seeds.items() if values}
    if len(known) < 2:
        return None, math.nan, ALONE if known else MISSING
    shared = set.intersection(*map(set, known.values()))
    sign = 1 if score.more else -1
    means = {
        arm: sign * float(np.mean([values[seed] for seed in shared or values]))
        for arm, values in known.items()
    }
    first, second = sorted(means, key=lambda arm: -means[arm])[:2]
    both = sorted(known[first].keys() & known[second].keys())
    values, others = ([sign * known[arm][seed] for seed in both] for arm in (first, second))
    margin = means[first] - means[second]
    if len(both) < 2:
        return first, margin, ONE_SEED
    return first, margin, DECIDED if paired(values, others).difference_low > 0 else OPEN


def _blank(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.full(shape, -1), np.full(shape, math.nan), np.full(shape, MISSING)


def _numeric(texts: Sequence[str | None]) -> bool:
    numbers = {math.nan if text is None else number(text) for text in texts}
    return len(numbers) > 1 and not any(math.isnan(each) for each in numbers)


def _cells(groups: Sequence[Group], keys: tuple[str, str], name: str) -> Cells:
    """Return the numbers of finished runs by method, column, row, and seed."""
    cells: Cells = {}
    for group in groups:
        column, row = (group.settings[key] for key in keys)
        cell = parted(group, keys)[1], column, row
        for run in group.runs:
            last = run.summary[f"score_{name}"]["last"]
            if run.finished and last is not None:
                cells.setdefault(cell, {})[int(run.config["seed"])] = float(last)
    return cells
