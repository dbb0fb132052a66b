"""Rows on disk: Parquet files, or CSV where they are called so, a row a run."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from pyarrow import csv

from ...atomic import replacing
from ...errors import ConfigError, FedkdError
from .columns import check

Row = dict[str, Any]
P = ParamSpec("P")

AS_WRITTEN = csv.ConvertOptions(null_values=[""])
"""So that NaN is one: Arrow would take it, and NA, for an empty field."""


class Lacking(dict[str, Any]):
    """A row of a file, which says so if that lacks a column that is asked for.

    Examples
    --------
    >>> Lacking({"seed": 0}, Path("a.csv"))["local"]
    Traceback (most recent call last):
    ...
    fedkd.errors.ConfigError: rows=a.csv: lacks the column local; restore it, or name this ...
    """

    def __init__(self, row: Row, path: Path) -> None:
        super().__init__(row)
        self.path = path

    def __missing__(self, name: str) -> Any:
        """Raise `ConfigError`."""
        problem = f"lacks the column {name}; restore it, or name this study's own file"
        raise ConfigError("rows", self.path, problem)


class Kept(list[Row]):
    """Rows, and the file that they are from.

    Parameters
    ----------
    rows : list of dict
        A row a run.
    path : Path
        The file; it need not be there yet.
    """

    def __init__(self, rows: list[Row], path: Path) -> None:
        super().__init__(Lacking(row, path) for row in rows)
        self.path = path


def saved(path: Path) -> Kept:
    """Return the rows that an earlier call has left.

    Raises
    ------
    ConfigError
        If the file is no table, or has rows that nothing may be made of, see `columns.check`.

    Examples
    --------
    >>> saved(Path("none.csv"))
    []
    """
    if not path.exists():
        return Kept([], path)
    try:
        read = pq.read_table if path.suffix != ".csv" else _read_csv
        rows: list[Row] = read(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        problem = f"is no table of rows ({' '.join(str(error).split())})"
        raise ConfigError("rows", path, problem) from None
    if not rows:  # the writer leaves none without a row
        raise ConfigError("rows", path, "has no row; remove it, or name this study's own file")
    check(rows, path)
    return Kept(rows, path)


def _read_csv(path: Path) -> pa.Table:
    return csv.read_csv(path, convert_options=AS_WRITTEN)


def keep(path: Path, rows: list[Row]) -> None:
    """Write all rows; who is killed meanwhile leaves the old ones."""
    names = dict.fromkeys(name for row in rows for name in row)  # Arrow takes those of the first
    every = [{name: row.get(name) for name in names} for row in rows]
    write = csv.write_csv if path.suffix == ".csv" else pq.write_table
    with replacing(path) as temporary:
        write(pa.Table.from_pylist(every), temporary)


def plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Make of a script's command one that ends in a line where something given is wrong.

    Examples
    --------
    >>> @plainly
    ... def command() -> None:
    ...     raise ConfigError("seeds", 0, "must be at least 1")
    >>> command()
    Traceback (most recent call last):
    ...
    click.exceptions.Exit: 2
    """

    @wraps(command)
    def ended(*args: P.args, **options: P.kwargs) -> None:
        try:
            command(*args, **options)
        except FedkdError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from error

    return ended
