"""Published tables: what was claimed, as plain data, and what a rerun's numbers say of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import typer
from rich.console import Console

from .cells import Row, fill, missing, saved

REPRODUCED = "reproduced"
ORDERING = "ordering reproduced"
NOT = "not reproduced"
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


def filled(
    rows: Path,
    wanted: list[Row],
    measure: Callable[[Row], Row | None],
    jobs: int,
    plan: bool,
) -> None:
    """Run what is missing of the wanted cells, and say so; or only say what that is."""
    console, left = Console(highlight=False), missing(wanted, saved(rows))
    if plan:
        for cell in left:
            console.print(named(cell), soft_wrap=True)
        console.print(f"{len(left)} of {len(wanted)} runs are missing")
        return
    for kept in fill(rows, wanted, measure, jobs):
        count, seconds = len(missing(wanted, kept)), kept[-1]["cpu_seconds"]
        line = f"{count:4} left  {named({k: kept[-1][k] for k in wanted[0]})}  {seconds:.0f} s"
        console.print(line, soft_wrap=True)
    if missing(wanted, saved(rows)):
        raise typer.Exit(1)


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


def ordered(values: Mapping[str, float], order: Sequence[str]) -> bool:
    """Say whether values fall in this order, the largest first.

    Examples
    --------
    >>> ordered({"a": 2.0, "b": 1.0, "c": 5.0}, ["a", "b"])
    True
    """
    own = [values[name] for name in order]
    return all(first > then for first, then in pairwise(own))


def within(values: Sequence[float], published: tuple[float, float]) -> bool:
    """Say whether the mean of shares is inside what is published, plus or minus its deviation.

    Examples
    --------
    >>> within([0.96, 0.98], (97.13, 0.3)), within([0.9], (97.13, 0.3))
    (True, False)
    """
    mean, deviation = published
    return bool(abs(100 * float(np.mean(values)) - mean) <= deviation)


def head(claim: Claim) -> str:
    """Return the beginning of a claim's page."""
    differences = "\n".join(f"- {line}" for line in claim.differences)
    return (
        f"# {claim.title}\n\n**Claim.** {claim.claimed}\n\n**Source.** {claim.source}. "
        f"**Confidence.** {claim.confidence}.\n\n**Where this differs.**\n\n{differences}\n"
    )
