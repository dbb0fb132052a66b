"""The page of the cross-check: both sides' numbers, and whether they are the same.

``python -m fedkd.experiments.reproduce.cross_check_page`` writes ``docs/cross_check.md`` from
``--rows`` and the figures of public code; it runs nothing.
"""

from pathlib import Path

import numpy as np
import typer

from ...report.markdown import table
from .cells import Row
from .claims import NOT, OPEN, REPRODUCED, UNTRIED, shown
from .cross_check import FULL, METHODS, PUBLIC, QUICK, ROWS, SEEDS, cells
from .cross_check_words import (
    AS_IS,
    CAUSES,
    CHANGES,
    CLAIM,
    CODES,
    HOW,
    HTFLLIB,
    NOT_TRIED,
    SHORT,
    WITHOUT,
)
from .pages import writing
from .paired import FEW, PLACES, by_seed, interval, listing, minus
from .tables import chosen, framed, seconds, versions

PAGE = Path("docs/cross_check.md")
MARGIN = 1.0
"""Points within which two codes are called the same."""

SAME = 1e-6
"""Points that are no difference: rows have six digits."""

LINES = [(method, change) for method in METHODS for change in (AS_IS, *CHANGES.get(method, {}))]
"""Methods, and what of the public code was changed."""


def page(rows: list[Row], public: list[Row]) -> str:
    """Return the page; `public` are the figures of public code."""
    said = {_what(*line): verdict(rows, public, *line) for line in LINES}
    parts = [*listing(said), ""]
    for heading, whole, own in versions(rows, FULL, QUICK):
        title = heading.replace("As published", "Both sides")
        parts += [title, *([] if whole else [SHORT]), table(lines(own, public))]
    return framed(CLAIM, rows, cells(SEEDS), [*parts, CAUSES, NOT_TRIED, HOW])


def _what(method: str, change: str) -> str:
    what = "as it is" if change == AS_IS else f"changed to: {CHANGES[method][change]}"
    return f"`{method}`, {CODES.get(method, HTFLLIB)} {what}"


def differences(
    rows: list[Row], public: list[Row], method: str, change: str, rounds: int = FULL
) -> dict[str, list[float]]:
    """Return by how many points ours is above theirs, a number a seed, by place."""
    cell = {"method": method, "rounds": rounds}
    return {
        place: minus(by_seed(rows, column, **cell), by_seed(public, column, change=change, **cell))
        for place, column in PLACES.items()
    }


def verdict(rows: list[Row], public: list[Row], method: str, change: str) -> tuple[str, str]:
    """Return whether two codes come to the same, and why."""
    found = differences(rows, public, method, change)
    if change == AS_IS and method in WITHOUT:
        return NOT, WITHOUT[method]
    return judged(found)


def judged(found: dict[str, list[float]]) -> tuple[str, str]:
    """Return what differences say, a number a seed, by place.

    Examples
    --------
    >>> judged({"local": [0.0, 0.0, 0.0], "global": [0.0, 0.0, 0.0]})
    ('reproduced', 'equal to the last digit in 3 of 3 seeds')
    >>> judged({"local": [0.1, 0.2, 0.1], "global": [0.1, 0.0, -0.1]})
    ('reproduced', 'local +0.13 ± 0.14 points, global +0.00 ± 0.25 points')
    >>> judged({"local": [2.1, 2.2, 2.1]})[0], judged({"local": [2.0, -2.0, 0.0]})[0]
    ('not reproduced', 'undecided')
    >>> judged({"local": [2.1, 2.2]})
    ('not tried', 'fewer than 3 seeds on both sides')
    """
    if any(len(one) < FEW for one in found.values()):
        return UNTRIED, f"fewer than {FEW} seeds on both sides"
    equal = [max(map(abs, seed)) < SAME for seed in zip(*found.values(), strict=True)]
    if all(equal):
        return REPRODUCED, f"equal to the last digit in {len(equal)} of {len(equal)} seeds"
    ends = [interval(one) for one in found.values()]
    why = ", ".join(f"{place} {apart(one)} points" for place, one in found.items())
    if all(max(-low, high) <= MARGIN for low, high in ends):
        return REPRODUCED, why
    return (NOT if any(low > 0 or high < 0 for low, high in ends) else OPEN), why


def apart(found: list[float]) -> str:
    """Return the mean difference and half of its interval; "-" for none.

    Examples
    --------
    >>> apart([1.0, 2.0, 3.0]), apart([1.0]), apart([])
    ('+2.00 ± 2.48', '+1.00', '-')
    """
    if not found:
        return "-"
    low, high = interval(found)
    around = "" if np.isinf(low) else f" ± {(high - low) / 2:.2f}"
    return f"{np.mean(found):+.2f}{around}"


def lines(rows: list[Row], public: list[Row]) -> list[tuple[str, ...]]:
    """Return a line a method and change: both sides, and how far apart they are."""
    sides = ("ours", "theirs", "difference")
    heads = [f"{place}, {side}" for place in PLACES for side in sides]
    found: list[tuple[str, ...]] = [("method", "changed there", *heads, "seeds", "CPU s, ours")]
    rounds = rows[0]["rounds"]
    for method, change in LINES:
        cell = {"method": method, "rounds": rounds}
        ours, theirs = chosen(rows, **cell), chosen(public, change=change, **cell)
        gaps = differences(rows, public, method, change, rounds)
        numbers = [
            text
            for place, column in PLACES.items()
            for text in (_shown(ours, column), _shown(theirs, column), apart(gaps[place]))
        ]
        seeds = f"{len(ours)}, {len(theirs)}"
        found.append((f"`{method}`", change, *numbers, seeds, seconds(ours)))
    return found


def _shown(rows: list[Row], column: str) -> str:
    return shown([row[column] for row in rows])


command = writing(page, PAGE, ROWS, PUBLIC)

if __name__ == "__main__":
    typer.run(command)
