"""From measurements to ratios, a table and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from .measure import Measurement
from .systems import BARE, LOOP, LOOP_ALL, SYSTEMS
from .works import WORKS, Size

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
        None without them), ``first_round``, ``pss_mb``, ``loss`` and ``error``; of whole runs also
        ``run_seconds``, ``run_ratio`` (to the loop), ``all_ratio`` (to the loop with all test
        samples), ``tested`` and ``later_seconds``.

    Examples
    --------
    >>> loop, ray = Measurement("loop", "W1", [2.0, 2.0]), Measurement("ray", "W1", [1.0, 3.0, 1.0])
    >>> [(row["system"], row["ratio"]) for row in summarise([loop, ray, loop])]
    [('loop', 1.0), ('ray', 0.5)]
    """
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for one in measured:
        groups.setdefault((one.work, one.system), []).append(one)
    rows = {key: _row(*key, some) for key, some in groups.items()}
    for (work, _), row in rows.items():
        loop, bare, every = (rows.get((work, name), {}) for name in (LOOP, BARE, LOOP_ALL))
        row["ratio"] = _ratio("round_seconds", row, loop)
        row["startup_ratio"] = _ratio("startup", row, bare)
        row["pss_ratio"] = _ratio("pss_mb", row, bare)
        row["run_ratio"] = _ratio("run_seconds", row, loop)
        row["all_ratio"] = _ratio("run_seconds", row, every)
    return list(rows.values())


def _row(work: str, system: str, every: Sequence[Measurement]) -> Row:
    row: Row = {"system": system, "work": work}
    row["error"] = next((one.error for one in every if one.error), None)
    row["pss_mb"] = max((one.pss_mb for one in every if one.pss_mb), default=None)
    row["tested"] = next((sum(one.tested) for one in every if one.tested), None)
    for name in ("run_seconds", "later_seconds"):
        values = [value for one in every if (value := getattr(one, name)) is not None]
        row[name] = median(values) if values else None
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


HEADS = {"round_seconds", "message_ms", "run_seconds"}
"""Numbers in whose cells a job that failed says so."""


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table: a line per number that there is, a column per system.

    Cells of failed jobs say so.

    Examples
    --------
    >>> some = summarise([Measurement("loop", "W1", [2.0]), Measurement("ray", "W1", error="no")])
    >>> lines(some)[:2]
    [['W1 s/round', '2.000', 'failed'], ['W1 shortest to longest', '2.000 to 2.000', '-']]
    """
    systems = columns(rows)
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
    found = [
        [title, *(_cell(at.get((work, system), {}), name, digits) for system in systems)]
        for title, work, name, digits in asked
    ]
    return [line for line in found if set(line[1:]) != {"-"}]


def columns(rows: Sequence[Row]) -> list[str]:
    """Return the systems of a table in their own order, the loops first."""
    there = {row["system"] for row in rows}
    return [name for name in SYSTEMS if name in there]


def _asked(work: str) -> list[tuple[str, str, str, int]]:
    """Return title, work, name and digits of a work's lines."""
    if WORKS[work].messages:
        return [(f"{work} ms/message", work, "message_ms", 3)]
    if WORKS[work].sweep:
        return [
            (f"{work} s in all", work, "run_seconds", 1),
            (f"{work} s each run but the first", work, "later_seconds", 2),
        ]
    of_runs = [
        (f"{work} s in all", work, "run_seconds", 1),
        (f"{work} ratio in all", work, "run_ratio", 2),
        (f"{work} ratio in all, to the loop with all test samples", work, "all_ratio", 2),
        (f"{work} test samples a model, all rounds", work, "tested", 0),
    ]
    return [
        *(of_runs if WORKS[work].whole else []),
        (f"{work} s/round", work, "round_seconds", 3),
        (f"{work} shortest to longest", work, "range", 3),
        (f"{work} CPU s/round", work, "cpu_seconds", 2),
        (f"{work} ratio", work, "ratio", 2),
    ]


def _cell(row: Row, name: str, digits: int) -> str:
    value = row.get(name)
    if value is None:
        return "failed" if row.get("error") and name in HEADS else "-"
    values = value if isinstance(value, list) else [value]
    return " to ".join(f"{number:,.{digits}f}" for number in values)


def caption(rows: Sequence[Row], sizes: Mapping[str, Size]) -> list[str]:
    """Return what the table's works are, and which test samples are skipped in them."""
    works: dict[Size, list[str]] = {}
    for work in dict.fromkeys(row["work"] for row in rows):
        works.setdefault(sizes[work], []).append(work)
    about = [
        f"{', '.join(some)}: {size.clients} clients x {size.samples} samples, median of "
        f"{size.rounds} rounds" + (f" (of {size.rounds + 2})" if WORKS[some[0]].whole else "")
        for size, some in works.items()
    ]
    titles = [f"{work} = {WORKS[work].title}" for some in works.values() for work in some]
    return ["; ".join([*about, *titles]), *_skipped(rows)]


def _skipped(rows: Sequence[Row]) -> list[str]:
    """Return a line for each work in which a system has looked at fewer test samples than can be.

    Examples
    --------
    >>> rows = [{"system": "loop_all", "work": "W4", "tested": 50_000}]
    >>> _skipped([*rows, {"system": "ray", "work": "W4", "tested": 18_000}])
    ['W4: fedkd ray skips 32,000 of the 50,000 evaluations of a model']
    """
    most = {row["work"]: row.get("tested") or 0 for row in rows if row["system"] == LOOP_ALL}
    found = []
    for row in rows:
        seen, all_of_them = row.get("tested"), most.get(row["work"], 0)
        if seen and seen < all_of_them:
            left = f"{all_of_them - seen:,} of the {all_of_them:,} evaluations of a model"
            found.append(f"{row['work']}: {SYSTEMS[row['system']].title} skips {left}")
    return found


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
    measured: Sequence[Measurement],
    sizes: Mapping[str, dict[str, int]],
    machine: dict[str, Any],
    synthetic: bool,
) -> dict[str, Any]:
    """Return everything as JSON: rows, every single measurement, sizes and the machine."""
    return {
        "schema": 3,
        "sizes": dict(sizes),
        "data": "synthetic" if synthetic else "mnist",
        "machine": machine,
        "rows": summarise(measured),
        "measurements": [asdict(one) for one in measured],
    }
