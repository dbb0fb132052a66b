"""Runs the cells of a study's table, and keeps what is done."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pyarrow as pa
import typer

from ...config.overrides import compose
from ...errors import ConfigError, FedkdError
from ...run.result import RunResult
from ...run.runner import run
from .kept import Row, keep, saved

T = TypeVar("T")


def ran(overrides: list[str]) -> tuple[Row, float]:
    """Make a run whose directory does not stay; return its summary, and CPU seconds."""
    summary, _, seconds = _ended(overrides)
    return summary, seconds


def _made(overrides: list[str]) -> tuple[RunResult, float]:
    """Make a run whose directory does not stay; return its result, and CPU seconds."""
    began = time.process_time()
    with TemporaryDirectory() as folder:
        result = run(compose([*overrides, f"run_dir={folder}/run"]), report=False)
    return result, time.process_time() - began


def _ended(overrides: list[str]) -> tuple[Row, dict[str, list[float]], float]:
    """Make a run; return its summary, what `ends` says of it, and CPU seconds."""
    result, seconds = _made(overrides)
    return result.summary, ends(result), seconds


def ends(result: RunResult) -> dict[str, list[float]]:
    """Return what each client ends with: ``local``, ``global`` and whether it is ``hostile``.

    Clients are in their order; of a run without an attack nobody says whether it is hostile.
    """
    last = [one for one in result.clients.to_pylist() if one["round"] == result.summary["rounds"]]
    last.sort(key=itemgetter("client"))
    names = ("local", "global", "hostile")
    return {name: [one["value"] for one in last if one["metric"] == name] for name in names}


def honest(values: Sequence[float], hostile: Sequence[float]) -> list[float]:
    """Return the values of the clients that are not hostile; nothing said is nobody hostile.

    Examples
    --------
    >>> honest([0.5, 0.6, 0.7], [0, 1, 0]), honest([0.5, 0.6], [])
    ([0.5, 0.7], [0.5, 0.6])
    """
    if not hostile:
        return list(values)
    return [value for value, lies in zip(values, hostile, strict=True) if not lies]


def _unless_refused(make: Callable[[list[str]], T], overrides: list[str]) -> T | None:
    """Return what is made of a run; say so if it is refused or fails, and return None."""
    try:
        return make(overrides)
    except FedkdError as error:
        typer.echo(f"left out: {' '.join(overrides)}: {error}", err=True)
        return None


def finals(overrides: list[str]) -> tuple[Row, dict[str, list[float]], float] | None:
    """Do as `tried`; return also what each client ends with, see `ends`."""
    return _unless_refused(_ended, overrides)


def course(overrides: list[str]) -> tuple[Row, pa.Table, float] | None:
    """Do as `tried`; return also the table of the rounds."""
    found = _unless_refused(_made, overrides)
    return None if found is None else (found[0].summary, found[0].rounds, found[1])


def tried(overrides: list[str]) -> tuple[Row, float] | None:
    """Make a run, as `ran` does; say so if it is refused or fails, and leave it."""
    found = finals(overrides)
    return None if found is None else (found[0], found[2])


def scored(overrides: list[str]) -> Row | None:
    """Make a run; return its accuracies, seconds and digest as a row has them, see `tried`."""
    if (found := tried(overrides)) is None:
        return None
    return numbers(*found)


def numbers(summary: Row, seconds: float) -> Row:
    """Return a run's accuracies, seconds and digest as a row has them."""
    return {
        "local": round(summary["alma_local"]["last"], 6),
        "overall": round(summary["alma_global"]["last"], 6),
        "cpu_seconds": round(seconds, 2),
        "digest": summary["digest"][:16],
    }


def missing(cells: list[Row], rows: list[Row]) -> list[Row]:
    """Return the cells that no row is about.

    Raises
    ------
    ConfigError
        If the rows are of another study: they lack what identifies a cell.

    Examples
    --------
    >>> missing([{"seed": 0}, {"seed": 1}], [{"seed": 0, "accuracy": 0.9}])
    [{'seed': 1}]
    """
    if cells and rows and (lacking := [name for name in cells[0] if name not in rows[0]]):
        problem = f"rows without {', '.join(lacking)} are another study's; name a file of its own"
        raise ConfigError("rows", getattr(rows, "path", [*rows[0]]), problem)
    return [cell for cell in cells if not any(cell.items() <= row.items() for row in rows)]


def fill(
    path: Path,
    cells: list[Row],
    measure: Callable[[Row], Row | None],
    jobs: int = 1,
    beside: Callable[[Row], Row] = lambda _: {},
) -> Iterator[list[Row]]:
    """Measure the cells that `path` lacks; yield all rows after each, also on disk by then.

    Parameters
    ----------
    path : Path
        Parquet file, or CSV where it is called so, a row a cell.
    cells : list of dict
        What identifies each cell.
    measure : callable
        Returns what was measured of a cell, None to leave it for another call; a function of a
        module where `jobs` is above 1.
    jobs : int
        Processes.
    beside : callable
        Returns what else a cell's row has.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = saved(path)
    todo = missing(cells, rows)
    for cell, found in zip(todo, _measured(todo, measure, jobs), strict=True):
        if found is not None:
            rows.append(cell | found | beside(cell))
            keep(path, rows)
            yield rows


def _measured(
    cells: list[Row], measure: Callable[[Row], Row | None], jobs: int
) -> Iterator[Row | None]:
    if jobs == 1:
        yield from map(measure, cells)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(measure, cells)
