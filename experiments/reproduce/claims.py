"""Published tables: what was claimed, as plain data, and what a rerun's numbers say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .cells import Row

REPRODUCED = "reproduced"
ORDERING = "ordering reproduced"
NOT = "not reproduced"
OPEN = "undecided"
UNTRIED = "not tried"


@dataclass(frozen=True)
class Claim:
    """What a table claims.

    Parameters
    ----------
    name, title : str
        Name of the module, and heading.
    claimed : str
        In a sentence.
    source, confidence : str
        Where it is from, and how sure it is that the protocol is this.
    published : mapping
        ``{method: {setting: (mean, deviation)}}`` in per cent.
    differences : tuple of str
        Where the protocol is not the published one's.
    """

    name: str
    title: str
    claimed: str
    source: str
    confidence: str
    published: Mapping[str, Mapping[float, tuple[float, float]]]
    differences: tuple[str, ...]


def named(cell: Row) -> str:
    """Return a cell in a line.

    Examples
    --------
    >>> named({"ways": 3, "method": "local"})
    'ways 3, method local'
    """
    return ", ".join(f"{name} {value}" for name, value in cell.items())


def listed(values: Sequence[float]) -> str:
    """Return numbers as a cell of a CSV file has them; "-" for none.

    Examples
    --------
    >>> listed([0.5, 1.0]), listed([])
    ('0.50000 1.00000', '-')
    """
    return " ".join(f"{value:.5f}" for value in values) or "-"


def unlisted(cell: object) -> list[float]:
    """Return the numbers that `listed` wrote; a table may have read a single one as a number.

    Examples
    --------
    >>> unlisted("0.50000 1.00000"), unlisted(0.5), unlisted("-")
    ([0.5, 1.0], [0.5], [])
    """
    return [float(one) for one in str(cell).split() if one != "-"]


def shown(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation of shares, in per cent; "-" for none.

    Examples
    --------
    >>> shown([0.5, 0.7]), shown([0.5]), shown([])
    ('60.00 ± 14.14', '50.00', '-')
    """
    if not len(values):
        return "-"
    scaled = 100 * np.asarray(values, dtype=np.float64)
    mean = f"{scaled.mean():.2f}"
    return mean if len(values) == 1 else f"{mean} ± {scaled.std(ddof=1):.2f}"


def verdict(
    found: Mapping[str, float],
    published: Mapping[str, tuple[float, float]],
    order: Sequence[tuple[str, str]],
) -> tuple[str, str]:
    """Return what numbers say of published ones, and why.

    Parameters
    ----------
    found : mapping
        Each method's accuracy, in [0, 1].
    published : mapping
        Mean and deviation of each, in per cent.
    order : sequence of (better, worse)
        Methods that the claim compares.

    Returns
    -------
    word, why : str
        `REPRODUCED` if every mean is within the published deviation and the order holds, `ORDERING`
        if the order does, `NOT` if it does not, or there is none to hold, `UNTRIED` if a method has
        not been run.

    Examples
    --------
    >>> published = {"a": (90.0, 1.0), "b": (80.0, 1.0)}
    >>> verdict({"a": 0.91, "b": 0.8}, published, [("a", "b")])[0]
    'reproduced'
    >>> verdict({"a": 0.95, "b": 0.8}, published, [("a", "b")])
    ('ordering reproduced', 'a is at 95.00, published are 90.00 ± 1.00')
    >>> verdict({"a": 0.7}, {"a": (90.0, 1.0)}, [])[0]
    'not reproduced'
    >>> verdict({"a": 0.7, "b": 0.8}, published, [("a", "b")])
    ('not reproduced', 'a (70.00) is not better than b (80.00)')
    >>> verdict({"a": 0.7}, published, [("a", "b")])
    ('not tried', 'b has not been run')
    >>> verdict({}, published, [("a", "b")])
    ('not tried', 'no method has been run')
    """
    if not found:
        return UNTRIED, "no method has been run"
    if lacking := [name for name in published if name not in found]:
        return (
            UNTRIED,
            f"{', '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} not been run",
        )
    if wrong := broken(found, order):
        return NOT, wrong
    percent = {name: 100 * value for name, value in found.items()}
    outside = [
        f"{name} is at {percent[name]:.2f}, published are {mean:.2f} ± {deviation:.2f}"
        for name, (mean, deviation) in published.items()
        if abs(percent[name] - mean) > deviation
    ]
    if not outside:
        return REPRODUCED, "all inside the spread"
    return ORDERING if order else NOT, "; ".join(outside)


def broken(found: Mapping[str, float], order: Sequence[tuple[str, str]]) -> str:
    """Return which comparisons do not hold, "" if all do; see `verdict`.

    Examples
    --------
    >>> broken({"a": 0.7, "b": 0.8}, [("a", "b"), ("b", "a")])
    'a (70.00) is not better than b (80.00)'
    """
    return "; ".join(
        f"{one} ({100 * found[one]:.2f}) is not better than {other} ({100 * found[other]:.2f})"
        for one, other in order
        if not found[one] > found[other]
    )


def early(found: Mapping[str, float], order: Sequence[tuple[str, str]], rounds: int) -> str:
    """Return what may be said of a short version, which bears no verdict on the claim.

    Examples
    --------
    >>> early({"a": 0.9, "b": 0.8}, [("a", "b")], 20)
    'after 20 rounds the order of the claim holds'
    """
    if any(name not in found for pair in order for name in pair):
        return f"not every method has been run for {rounds} rounds"
    wrong = broken(found, order)
    return f"after {rounds} rounds the order of the claim " + (
        f"does not hold: {wrong}" if wrong else "holds"
    )


def head(claim: Claim) -> str:
    """Return the beginning of a claim's page."""
    differences = "\n".join(f"- {line}" for line in claim.differences)
    return (
        f"# {claim.title}\n\n**Claim.** {claim.claimed}\n\n**Source.** {claim.source}. "
        f"**Confidence.** {claim.confidence}.\n\n**Where this differs.**\n\n{differences}\n"
    )
