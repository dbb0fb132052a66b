"""From measurements to ratios, a table and JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from .measure import Measurement
from .works import BARE, LOOP, WORKS, Size

Row = dict[str, Any]


def summarise(measured: Sequence[Measurement]) -> list[Row]:
    """Return one row per system and work, in the order of their first measurement.

    Returns
    -------
    list of dict
        ``system``, ``work``, ``round_seconds`` (median of the repetitions' medians), ``ratio`` (to
        the loop of the same work; None without one), ``range`` (the shortest and the longest
        round), ``spread`` (smallest and largest of the repetitions' medians), ``cpu_seconds`` of a
        round, ``message_ms``, ``startup``, ``startup_ratio`` and ``pss_ratio`` (to bare Ray actors;
        None without them), ``first_round``, ``pss_mb``, ``loss`` and ``error``.

    Examples
    --------
    >>> loop, ray = Measurement("loop", "W1", [2.0, 2.0]), Measurement("ray", "W1", [1.0, 3.0, 1.0])
    >>> [(row["system"], row["ratio"]) for row in summarise([loop, ray, loop])]
    [('loop', 1.0), ('ray', 0.5)]
    """
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for one in measured:
        groups.setdefault((one.work, one.system), []).append(one)
    rows = {key: _row(*key, every) for key, every in groups.items()}
    for (work, _), row in rows.items():
        loop, bare = (rows.get((work, name), {}) for name in (LOOP, BARE))
        row["ratio"] = _ratio("round_seconds", row, loop)
        row["startup_ratio"] = _ratio("startup", row, bare)
        row["pss_ratio"] = _ratio("pss_mb", row, bare)
    return list(rows.values())


def _row(work: str, system: str, every: Sequence[Measurement]) -> Row:
    row: Row = {"system": system, "work": work}
    row["error"] = next((one.error for one in every if one.error), None)
    row["pss_mb"] = max((one.pss_mb for one in every if one.pss_mb), default=None)
    done = [one for one in every if one.seconds]
    if not done:
        return row
    medians = [one.round_seconds for one in done]
    seconds = [second for one in done for second in one.seconds]
    messages = [one.message_ms for one in done if one.message_ms is not None]
    return row | {
        "round_seconds": median(medians),
        "range": [min(seconds), max(seconds)],
        "spread": [min(medians), max(medians)],
        "cpu_seconds": median(one.cpu for one in done),
        "message_ms": median(messages) if messages else None,
        "startup": median(one.startup for one in done),
        "first_round": median(one.first_round for one in done),
        "loss": done[-1].loss,
    }


def _ratio(name: str, row: Row, other: Row) -> float | None:
    mine, yardstick = row.get(name), other.get(name)
    return mine / yardstick if mine and yardstick else None


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table: a line per number, a column per system; cells of failed jobs say so.

    Examples
    --------
    >>> some = summarise([Measurement("loop", "W1", [2.0]), Measurement("ray", "W1", error="no")])
    >>> lines(some)[:2]
    [['W1 s/round', '2.000', 'failed'], ['W1 shortest to longest', '2.000 to 2.000', '-']]
    """
    systems = list(dict.fromkeys(row["system"] for row in rows))
    works = list(dict.fromkeys(row["work"] for row in rows))
    first = works[0]
    asked = [line for work in works for line in _asked(work)]
    asked += [
        (f"{first} start-up s", first, "startup", 1),
        (f"{first} start-up to bare", first, "startup_ratio", 2),
        (f"{first} peak PSS MB", first, "pss_mb", 0),
        (f"{first} peak PSS to bare", first, "pss_ratio", 2),
    ]
    at = {(row["work"], row["system"]): row for row in rows}
    return [
        [title, *(_cell(at.get((work, system), {}), name, digits) for system in systems)]
        for title, work, name, digits in asked
    ]


def _asked(work: str) -> list[tuple[str, str, str, int]]:
    """Return title, work, name and digits of a work's lines."""
    if WORKS[work].messages:
        return [(f"{work} ms/message", work, "message_ms", 3)]
    return [
        (f"{work} s/round", work, "round_seconds", 3),
        (f"{work} shortest to longest", work, "range", 3),
        (f"{work} CPU s/round", work, "cpu_seconds", 2),
        (f"{work} ratio", work, "ratio", 2),
    ]


def _cell(row: Row, name: str, digits: int) -> str:
    value = row.get(name)
    if value is None:
        return "failed" if row.get("error") and name in {"round_seconds", "message_ms"} else "-"
    values = value if isinstance(value, list) else [value]
    return " to ".join(f"{number:,.{digits}f}" for number in values)


def caption(rows: Sequence[Row], size: Size) -> str:
    """Return what the table's works are."""
    works = dict.fromkeys(row["work"] for row in rows)
    about = f"{size.clients} clients x {size.samples} samples, median of {size.rounds} rounds"
    return "; ".join([about, *(f"{work} = {WORKS[work].title}" for work in works)])


def noise(rows: Sequence[Row]) -> list[str]:
    """Return a warning for each work whose loops differ by more than 5%.

    Examples
    --------
    >>> noise([{"system": "loop", "work": "W1", "spread": [1.0, 1.5]}])
    ['W1: the loop took 1.000 to 1.500 s; the machine was busy, so the ratios are rough']
    """
    floors = [
        (row["work"], *row["spread"])
        for row in rows
        if row["system"] == LOOP and "spread" in row and not WORKS[row["work"]].messages
    ]
    busy = "the machine was busy, so the ratios are rough"
    return [
        f"{work}: the loop took {low:.3f} to {high:.3f} s; {busy}"
        for work, low, high in floors
        if high > 1.05 * low
    ]


def document(
    measured: Sequence[Measurement], size: Size, machine: dict[str, Any], synthetic: bool
) -> dict[str, Any]:
    """Return everything as JSON: rows, every single measurement, sizes and the machine."""
    return {
        "schema": 2,
        "size": asdict(size),
        "data": "synthetic" if synthetic else "mnist",
        "machine": machine,
        "rows": summarise(measured),
        "measurements": [asdict(one) for one in measured],
    }
