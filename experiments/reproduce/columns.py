"""What the columns of rows hold, and rows that no page may be made of.

A row is what tells a run (its method, seed, ...) and what was measured of it. Numbers have bounds,
shares [0, 1] among them, and columns such as ``curve`` have several in a field, or "-" for none. A
field of theirs is never empty; others may be, as `MARK` is for runs that were made before it was
kept, and as those are that are measured since.
"""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import ConfigError

MARK = "made_with"
"""The column of what a row was made with, see `manifest`."""

SHARE, AMOUNT = (0.0, 1.0), (0.0, math.inf)

SCORES = ("local", "overall")
"""Columns that are shares, of rows that name no other metric than accuracy."""

COUNTS = ("rounds", "samples", "seed", "ways")
TOLD = {"share": SHARE, "alpha": AMOUNT} | dict.fromkeys(COUNTS, AMOUNT)
"""Numbers that tell a run, and their bounds; counts are whole."""

NUMBERS = {
    **dict.fromkeys((*SCORES, "accuracy", "alma_global", "last", "whole", "worst_whole"), SHARE),
    **dict.fromkeys(("bytes", "bytes_up", "cpu_seconds", "rejected", "seconds"), AMOUNT),
    "forgotten": (-1.0, 1.0),
}
"""Numbers that are measured."""

LISTS = {
    **dict.fromkeys(("accuracies", "best", "curve", "heads", "nearest", "hostile"), SHARE),
    **dict.fromkeys(("clients_local", "clients_overall"), SHARE),
    **dict.fromkeys(("absent", "labels", "tested"), AMOUNT),
}
"""Columns with several numbers in a field."""

ALIKE = (
    ("clients_local", "clients_overall", "hostile"),
    ("heads", "nearest", "tested"),
    ("accuracies", "labels"),
)
"""Columns of one length, but for those that have none."""

MEASURED = {*NUMBERS, *LISTS, "digest", "metric", MARK}
"""Columns that do not tell a run from others."""

BOUNDS = TOLD | NUMBERS | LISTS
NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)(e(-\d+|\+?\d\d?))?", re.ASCII | re.IGNORECASE)
REMEDY = "mend the file, or delete the line, whose run is then made again"
SECOND = "delete one of them, or restore the column that tells them apart"


def is_accuracy(row: Mapping[str, Any]) -> bool:
    """Say whether the scores of a row are shares.

    Examples
    --------
    >>> is_accuracy({"local": 0.9}), is_accuracy({"metric": "rmse", "local": 640.0})
    (True, False)
    """
    return row.get("metric", "accuracy") in ("accuracy", "alma")


def check(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Raise `ConfigError` for the first field that is not what its column holds, or second row.

    A run has one row. Two are refused even where both say the same: pages count runs and seconds,
    and who put files together should see that a run is in both of them.

    Examples
    --------
    >>> check([{"seed": 0, "local": 0.9}, {"seed": 1, "local": 83.2}], Path("a.parquet"))
    Traceback (most recent call last):
    ...
    fedkd.errors.ConfigError: rows=a.parquet: row 2, column local: 83.2 is not in [0, 1]; mend ...
    """
    found: dict[tuple[tuple[str, Any], ...], int] = {}
    for place, row in enumerate(rows):
        for name in row:
            if wrong := told(row, name):
                problem = f"{where(path, place)}, column {name}: {wrong}; {REMEDY}"
                raise ConfigError("rows", path, problem)
        cell = tuple(
            (name, value)
            for name, value in row.items()
            if name not in MEASURED or isinstance(value, bool)
        )
        if (first := found.setdefault(cell, place)) != place and cell:
            named = ", ".join(f"{name} {value}" for name, value in cell)
            both = f"{where(path, first)} and {where(path, place)}"
            problem = f"{both} are of one run ({named}); {SECOND}"
            raise ConfigError("rows", path, problem)


def told(row: Mapping[str, Any], name: str) -> str:
    """Return what is wrong with a field, "" if nothing is.

    Examples
    --------
    >>> told({"curve": "0.5 nan"}, "curve"), told({"seed": "one"}, "seed")
    ("'nan' is no number", "'one' is no number")
    >>> told({"curve": "-"}, "curve"), told({"seed": -1}, "seed")
    ('', '-1 is not in [0, inf]')
    >>> told({"local": None}, "local"), told({"local": 9.5, "metric": "rmse"}, "local")
    ('is empty', '')
    >>> told({"heads": "0.5 0.6", "nearest": "-", "tested": "9"}, "heads")
    'has 2 numbers, and tested 1'
    """
    value, many = row[name], name in LISTS
    if value is None or not str(value).strip():
        return "is empty" if name in BOUNDS or (value == "" and name not in MEASURED) else ""
    if name == MARK and str(value).count("-") != 2:
        return f"{value!r} is no mark"
    none = many and (value == "-" or isinstance(value, bool))  # whether an objective sees labels
    if none or name not in BOUNDS:
        return ""
    low, high = BOUNDS[name] if name not in SCORES or is_accuracy(row) else AMOUNT
    for one in str(value).split() if many else [str(value)]:
        if not NUMBER.fullmatch(one):
            return f"{one!r} is no number"
        whole = name not in COUNTS or float(one).is_integer()
        if not (whole and low <= float(one) <= high):
            return f"{one} is not in [{low:g}, {high:g}]" if whole else f"{one} is no whole number"
    return _unlike(row, name)


def _unlike(row: Mapping[str, Any], name: str) -> str:
    """Return which column a list should be as long as, and is not, "" for none."""
    count = len(str(row[name]).split())
    for other in (one for group in ALIKE if name in group for one in group):
        theirs = len(str(row.get(other, "-")).split())
        if row.get(other, "-") != "-" and theirs != count:
            return f"has {count} numbers, and {other} {theirs}"
    return ""


def where(path: Path, place: int) -> str:
    """Return where a row is in its file: the line as an editor counts it."""
    if path.suffix != ".csv":
        return f"row {place + 1}"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return f"line {[n for n, line in enumerate(lines, 1) if line][place + 1]}"
