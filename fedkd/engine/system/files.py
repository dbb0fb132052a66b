"""Tables of devices, as CSV."""

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import ConfigError

COLUMNS = ("client", "speed", "bandwidth_up", "bandwidth_down")
OPTIONAL = "availability"

LEAST = 1e-9
"""Speed or bandwidth, at least: what takes for ever is no number of seconds."""

Numbers = dict[str, float]
"""Of one device, by column."""


def read(path: Path, clients: int) -> list[Numbers]:
    """Return the devices of clients 0 to `clients` - 1; rows of further clients are left out.

    The header names the columns, in any order: ``client`` (from 0), ``speed`` (floating-point
    operations a second), ``bandwidth_up`` and ``bandwidth_down`` (bytes a second), and perhaps
    ``availability`` (0 to 1).

    Raises
    ------
    ConfigError
        If it cannot be read, or for the first row and column that cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except OSError as error:
        raise ConfigError("system", path, f"cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError("system", path, f"is no CSV in UTF-8: {error}") from error
    names = [name.strip() for name in rows[0]] if rows else []
    _check_header(path, names)
    found: dict[int, Numbers] = {}
    for number, cells in enumerate(rows[1:], start=2):
        if not cells:
            continue  # a blank line
        where = f"row {number}"
        if len(cells) != len(names):
            problem = f"{where} has {len(cells)} columns, and the header {len(names)}"
            raise ConfigError("system", path, problem)
        row = dict(zip(names, cells, strict=True))
        client = _client(path, where, row.pop("client"))
        if client in found:
            problem = f"{where}, client: {client} is there twice; keep one of its rows"
            raise ConfigError("system", path, problem)
        found[client] = {name: _number(path, where, name, text) for name, text in row.items()}
    missing = [client for client in range(clients) if client not in found]
    if missing:
        more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        problem = f"column client: {missing[0]}{more} of {clients} missing; add a row for each"
        raise ConfigError("system", path, problem)
    return [found[client] for client in range(clients)]


def written(devices: Sequence[Any]) -> str:
    """Return the table of devices that `read` takes."""
    names = (*COLUMNS[1:], OPTIONAL)
    lines = [
        ",".join([str(client), *(repr(float(getattr(device, name))) for name in names)])
        for client, device in enumerate(devices)
    ]
    return "\n".join([",".join(("client", *names)), *lines, ""])


def _check_header(path: Path, names: list[str]) -> None:
    known = (*COLUMNS, OPTIONAL)
    for name in COLUMNS:
        if name not in names:
            problem = f"row 1 lacks the column {name} (it has {', '.join(names) or 'none'})"
            raise ConfigError("system", path, problem)
    for name in names:
        if name not in known or names.count(name) > 1:
            what = "is there twice" if name in known else "is none of " + ", ".join(known)
            raise ConfigError("system", path, f"row 1, column {name or '(no name)'}: {what}")


def _client(path: Path, where: str, text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        problem = f"{where}, client: got {text!r}, must be a whole number from 0"
        raise ConfigError("system", path, problem)
    return int(text)


def _number(path: Path, where: str, name: str, text: str) -> float:
    """Return a number that its column allows."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    share = name == OPTIONAL
    if not (0 <= value <= 1 if share else LEAST <= value < math.inf):
        wanted = "from 0 to 1" if share else f"of at least {LEAST:g} and finite"
        problem = f"{where}, {name}: got {text.strip()!r}, must be a number {wanted}"
        raise ConfigError("system", path, problem)
    return value
