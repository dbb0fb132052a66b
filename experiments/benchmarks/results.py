"""From measurements to ratios, a table and JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.table import Table

from .measure import Measurement
from .works import LOOP, TITLES, WORKS, Size


def summarise(measured: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Return one row per system and work, in the order of their first measurement.

    Returns
    -------
    list of dict
        ``system``, ``work``, ``round_seconds`` (the loop's are the median of its repetitions),
        ``ratio`` (to the loop of the same work; None without one), ``startup``, ``first_round``,
        ``pss_mb``, ``spread`` (smallest and largest of the repetitions' medians) and ``error``.

    Examples
    --------
    >>> loop, ray = Measurement("loop", "W1", [2.0, 2.0]), Measurement("ray", "W1", [1.0, 3.0, 1.0])
    >>> [(row["system"], row["ratio"]) for row in summarise([loop, ray, loop])]
    [('loop', 1.0), ('ray', 0.5)]
    """
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for one in measured:
        groups.setdefault((one.work, one.system), []).append(one)
    return [_row(groups, *key) for key in groups]


def _row(
    groups: dict[tuple[str, str], list[Measurement]], work: str, system: str
) -> dict[str, Any]:
    every = groups[work, system]
    error = next((one.error for one in every if one.error), None)
    row: dict[str, Any] = {"system": system, "work": work, "error": error}
    done, loops = (
        [one for one in some if one.seconds] for some in (every, groups.get((work, LOOP), []))
    )
    if not done:
        return row
    medians = [one.round_seconds for one in done]
    floor = median(one.round_seconds for one in loops) if loops else None
    return row | {
        "round_seconds": median(medians),
        "ratio": median(medians) / floor if floor else None,
        "spread": [min(medians), max(medians)],
        "startup": median(one.startup for one in done),
        "first_round": median(one.first_round for one in done),
        "pss_mb": max((one.pss_mb for one in every if one.pss_mb), default=None),
    }


def table(rows: Sequence[dict[str, Any]], size: Size) -> Table:
    """Return the rows as a table with a line per system."""
    works = list(dict.fromkeys(row["work"] for row in rows))
    title = f"{size.clients} clients x {size.samples} samples, median of {size.rounds} rounds"
    caption = f"start-up and peak PSS: {works[0]}; " + "; ".join(
        f"{work} = {WORKS[work].title}" for work in works
    )
    shown = Table(title=title, caption=caption, caption_justify="left")
    shown.add_column("system")
    measures = [f"{work}\n{what}" for work in works for what in ("s/round", "ratio")]
    for name in [*measures, "start-up\ns", "peak PSS\nMB"]:
        shown.add_column(name, justify="right")
    for system in dict.fromkeys(row["system"] for row in rows):
        of = {row["work"]: row for row in rows if row["system"] == system}
        cells = [cell for work in works for cell in _cells(of.get(work, {}))]
        first = of.get(works[0], {})
        ends = [_number(first.get("startup"), 1), _number(first.get("pss_mb"), 0)]
        shown.add_row(TITLES[system], *cells, *ends)
    return shown


def noise(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a warning for each work whose loops differ by more than 5%.

    Examples
    --------
    >>> noise([{"system": "loop", "work": "W1", "spread": [1.0, 1.5]}])
    ['W1: the loop took 1.000 to 1.500 s; the machine was busy, so the ratios are rough']
    """
    floors = [
        (row["work"], *row["spread"]) for row in rows if row["system"] == LOOP and "spread" in row
    ]
    busy = "the machine was busy, so the ratios are rough"
    return [
        f"{work}: the loop took {low:.3f} to {high:.3f} s; {busy}"
        for work, low, high in floors
        if high > 1.05 * low
    ]


def _cells(row: dict[str, Any]) -> tuple[str, str]:
    if row.get("error") and "ratio" not in row:
        return "failed", "-"
    return _number(row.get("round_seconds"), 3), _number(row.get("ratio"), 2)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def document(
    measured: Sequence[Measurement], size: Size, machine: dict[str, Any], synthetic: bool
) -> dict[str, Any]:
    """Return everything as JSON: rows, every single measurement, sizes and the machine."""
    return {
        "schema": 1,
        "size": asdict(size),
        "data": "synthetic" if synthetic else "mnist",
        "machine": machine,
        "rows": summarise(measured),
        "measurements": [asdict(one) for one in measured],
    }
