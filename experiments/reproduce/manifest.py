"""What a claim's runs were going to be before they began, and which rows are those.

Beside rows is their manifest, such as ``docs/rows/NAME.json``. It has a freezing for each call that
ran what had not been frozen: when that was, the versions, the commit, hashes of the data, and of
every run its cell and its mark. A mark hashes the configuration, the data and the versions; a row
has the mark of what it was made with (`MARK`), so that either shows where the other differs. See
`fedkd.rundir.freezing` for studies.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ... import atomic
from ...config import RunConfig
from ...config.code import commit_of
from ...data import prepare
from ...errors import ConfigError
from ...rundir.study import key
from ...rundir.summary import versions
from .columns import MARK
from .kept import Kept, Row

PACKAGE = Path(atomic.__file__).parent

ROWS = Path("docs/rows")

PARTS = "configuration", "data", "versions"
"""What the three parts of a mark are hashes of."""

Configured = Callable[[Row], RunConfig]
"""Returns the configuration of a cell, as far as that is one: not objects that it is given."""


def mark(config: RunConfig) -> str:
    """Return what a run is known by: hashes of its configuration, its data and the versions.

    Of files that a configuration names (``data.split``, ``transfer.split``) that is the name: no
    claim has any.
    """
    about = key(config.to_dict()), content(config.data.name), json.dumps(versions())
    return "-".join(map(hashed, about))


def hashed(about: str) -> str:
    """Return a part of a mark.

    Examples
    --------
    >>> hashed("")
    'e3b0c442'
    """
    return hashlib.sha256(about.encode()).hexdigest()[:8]


@cache
def content(data: str) -> str:
    """Return a hash of a data set's samples and labels."""
    return prepare(data).content


def beside(rows: Path) -> Path:
    """Return where the manifest of rows is."""
    return rows.with_suffix(".json")


def freezings(rows: Path) -> list[dict[str, Any]]:
    """Return what was frozen, the oldest first; nothing if there is no manifest."""
    file = beside(rows)
    try:
        found: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
        for run in (run for one in found for run in one["runs"]):
            _, (_, _, _) = run["cell"].items(), run["mark"].split("-")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"is no manifest ({error}); restore it, or remove it and its rows"
        raise ConfigError("rows", file, problem) from None
    return found


def freeze(rows: Path, cells: list[Row], config: Configured) -> Callable[[Row], Row]:
    """Write down those of some cells, none of which has been run, that are not frozen yet.

    Returns
    -------
    callable
        Says of such a cell what its row has beside: the mark of what it is run with now.
    """
    before, configs = freezings(rows), [(cell, config(cell)) for cell in cells]
    marks = [(cell, mark(one)) for cell, one in configs]
    known = [run["cell"] for freezing in before for run in freezing["runs"]]
    new = [{"cell": cell, "mark": now} for cell, now in marks if cell not in known]
    if new:
        freezing = {
            "frozen": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": versions(),
            "commit": commit_of(str(PACKAGE)),
            "data": {name: content(name) for name in sorted({c.data.name for _, c in configs})},
            "runs": new,
        }
        beside(rows).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(beside(rows), written([*before, freezing]))
    return lambda cell: {MARK: next(now for own, now in marks if own == cell)}


def written(found: list[dict[str, Any]]) -> str:
    """Return freezings as JSON, a line a run."""
    parts = []
    for one in found:
        about = json.dumps({name: value for name, value in one.items() if name != "runs"}, indent=1)
        runs = ",\n  ".join(map(json.dumps, one["runs"]))
        parts.append(f'{about.removesuffix("}").rstrip()},\n "runs": [\n  {runs}\n ]\n}}')
    return "[" + ",\n".join(parts) + "]\n"


def differing(row: Row, found: list[dict[str, Any]]) -> str | None:
    """Return what of a row is not as it was frozen; "" if all is, None if it has no mark.

    Examples
    --------
    >>> found = [{"runs": [{"cell": {"seed": 0}, "mark": "a-b-c"}]}]
    >>> differing({"seed": 0, MARK: "a-x-z"}, found), differing({"seed": 1, MARK: "a-b-c"}, found)
    ('data, versions', 'cell')
    >>> differing({"seed": 0, MARK: "a-b-c"}, found), differing({"seed": 0}, found)
    ('', None)
    """
    if not row.get(MARK):
        return None
    runs = [run for one in found for run in one["runs"] if run["cell"].items() <= row.items()]
    if not runs:
        return "cell"
    pairs = zip(PARTS, row[MARK].split("-"), runs[0]["mark"].split("-"), strict=True)
    return ", ".join(part for part, own, frozen in pairs if own != frozen)


def said(name: str, rows: list[Row]) -> str:
    """Return what the page of a claim says of its rows, by the manifest beside their file.

    Examples
    --------
    >>> said("none", [{"seed": 0}])
    'Rows made without a manifest, so that none tells what was planned before: 1.'
    >>> said("none", [])
    'Nothing has been run.'
    """
    found = freezings(rows.path if isinstance(rows, Kept) else ROWS / f"{name}.csv")
    counts = Counter(differing(row, found) for row in rows)
    without, own = counts.pop(None, 0), counts.pop("", 0)
    if not found:
        none = "Rows made without a manifest, so that none tells what was planned before"
        return f"{none}: {len(rows)}." if rows else "Nothing has been run."
    runs = sum(len(one["runs"]) for one in found)
    parts = [f"Rows as frozen: {own} of {len(rows)}"]
    parts += [f"made before it: {without}"] if without else []
    parts += [f"with another {what} than frozen: {count}" for what, count in counts.items()]
    link = f"[manifest](rows/{name}.json)"
    return f"Runs frozen before they began, in the {link}: {runs}. {'; '.join(parts)}."
