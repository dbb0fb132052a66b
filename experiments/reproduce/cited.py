"""Numbers that a page cites from a study's rows, and whether they still are what the rows say.

Behind the number stands a comment, which no reader of the page sees::

    91.1 ± 0.4<!-- cited: knfu_phase.csv samples=200 alpha=0.3 method="knfu, logits" local -->

The mean of that column over the rows that have these values, and its sample deviation where one is
cited; columns of shares are in per cent.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .cells import Row, saved
from .columns import SCORES, is_accuracy

PATTERN = re.compile(
    r"(?P<mean>-?\d+(?:\.\d+)?)(?: ± (?P<deviation>\d+(?:\.\d+)?))?"
    r"<!-- cited: (?P<file>[\w.]+\.csv)(?P<about>[^>]*?) -->"
)


ANY = re.compile(r"<!--\s*cite", re.IGNORECASE)
"""What is meant as a citation, whether it is well formed or not."""


@dataclass(frozen=True)
class Citation:
    """A number on a page, and where it is from."""

    shown: str
    file: str
    cell: dict[str, str]
    column: str


def citations(text: str) -> list[Citation]:
    """Return what a page cites.

    Raises
    ------
    ValueError
        If a citation does not say what of.

    Examples
    --------
    >>> found = citations("It is 90.5<!-- cited: a.csv alpha=1 method='knfu, auto' local --> %.")
    >>> found[0].shown, found[0].cell, found[0].column
    ('90.5', {'alpha': '1', 'method': 'knfu, auto'}, 'local')
    """
    found = []
    for match in PATTERN.finditer(text):
        words = shlex.split(match["about"])
        columns = [word for word in words if "=" not in word]
        if len(columns) != 1:
            raise ValueError(f"{match[0]} must name one column")
        cell = dict(word.split("=", 1) for word in words if "=" in word)
        number = match[0].partition("<!--")[0]
        found.append(Citation(number, match["file"], cell, columns[0]))
    if len(found) != len(ANY.findall(text)):
        raise ValueError("a citation does not stand behind a number, or names no rows")
    return found


def told(citation: Citation, rows: list[Row]) -> str:
    """Return what the rows say in a citation's place, with as many digits.

    Examples
    --------
    >>> rows = [{"method": "a", "local": 0.5}, {"method": "a", "local": 0.7}, {"method": "b"}]
    >>> told(Citation("61.0 ± 1.0", "a.csv", {"method": "a"}, "local"), rows)
    '60.0 ± 14.1'
    """
    own = [row for row in rows if all(_same(row.get(k), v) for k, v in citation.cell.items())]
    if not own or any(row.get(citation.column) is None for row in own):
        return "nothing"
    scale = 100 if citation.column in SCORES and is_accuracy(own[0]) else 1
    values = scale * np.array([row[citation.column] for row in own], dtype=np.float64)
    mean, _, deviation = citation.shown.partition(" ± ")
    said = f"{values.mean():.{_digits(mean)}f}"
    if not deviation:
        return said
    return f"{said} ± {values.std(ddof=1):.{_digits(deviation)}f}" if len(values) > 1 else said


def wrong(text: str, folder: Path) -> list[str]:
    """Return the citations of a page that the rows in a folder do not bear out."""
    pairs = [(one, told(one, saved(folder / one.file))) for one in citations(text)]
    return [f"{one.shown}, and {one.file} says {said}" for one, said in pairs if said != one.shown]


def _same(value: object, word: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(word) == value
    return str(value) == word


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _digits(number: str) -> int:
    return len(number.partition(".")[2])
