"""Tables in CSV files, as pandas reads them; what pandas would take for something else is refused.

pandas takes a short row's end for missing values, and the first column of rows that are one value
longer than the header for an index: rows are counted before.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .frames import dataset_of

_BROKEN = (OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError)
_OTHERS = (";", "\t", "|")
"""What columns may be separated by, where a header seems to have one alone."""


def read(files: Sequence[Path], options: dict[str, Any], key: str, shown: object) -> Any:
    """Return the rows of CSV files as a `datasets.Dataset`.

    Parameters
    ----------
    files : sequence of Path
        They have the same columns, in any order.
    options : dict
        Of `pandas.read_csv`; ``sep`` is among them.
    key, shown
        What errors name.

    Raises
    ------
    ConfigError
        If a file cannot be read, or its columns are not those of the first: file and row are named.
    """
    import pandas as pd

    frames: list[pd.DataFrame] = []
    for file in files:
        try:
            frame = pd.read_csv(file, **options | {"chunksize": None, "low_memory": False})
        except (*_BROKEN, ValueError, MemoryError) as error:
            raise _refused(file, f"cannot be read ({_line(error)})", key, shown) from error
        odd = sorted(map(str, set(frame.columns) ^ set((frames or [frame])[0].columns)))
        if odd:
            problem = f"its columns are not those of {files[0].name}: {', '.join(odd)}"
            raise _refused(file, problem, key, shown)
        frames.append(frame)
    whole = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    return dataset_of(whole, key, shown)


def check(file: Path, separator: str, key: str, shown: object) -> None:
    """Refuse a CSV file whose rows do not have the columns of its header.

    Parameters
    ----------
    file : Path
        May be compressed (``.gz``).
    separator : str
        Between two values; one character.
    key, shown
        What errors name.

    Raises
    ------
    ConfigError
        Which row it is, counted after the header, and its last line in the file.
    """
    number, line = 0, 1
    try:
        with _opened(file) as text:
            rows = csv.reader(text, delimiter=separator, strict=True)
            header = next((row for row in rows if not _blank(row)), None)
            _check_header(file, header, separator, key, shown)
            assert header is not None
            for number, row in enumerate((row for row in rows if not _blank(row)), 1):
                line = rows.line_num
                if len(row) != len(header):
                    what = f"has {len(row)} values and the header {len(header)}"
                    raise _refused(file, f"row {number} (line {line}) {what}", key, shown)
    except _BROKEN as error:
        where = f"after row {number} (line {line})" if number else "row 1"
        reason = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else _line(error)
        raise _refused(file, f"cannot be read {where}: {reason}", key, shown) from error
    if not number:
        raise _refused(file, "has a header and no rows", key, shown)


def _check_header(
    file: Path, header: list[str] | None, separator: str, key: str, shown: object
) -> None:
    if header is None:
        raise _refused(file, "is empty; its first line must name the columns", key, shown)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        problem = f"its header names the column {twice[0]!r} {header.count(twice[0])} times"
        raise _refused(file, problem, key, shown)
    other = next((one for one in _OTHERS if one != separator and one in header[0]), None)
    if len(header) == 1 and other:
        problem = (
            f"its columns seem to be separated by {other!r} and not by {separator!r}: save it with "
            "commas, as .tsv with tabs, or give the data frame from Python"
        )
        raise _refused(file, problem, key, shown)


def _opened(file: Path) -> Any:
    kind: Any = gzip.open if file.suffix.lower() == ".gz" else open
    return kind(file, "rt", encoding="utf-8-sig", newline="")


def _blank(row: list[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def _refused(file: Path, problem: str, key: str, shown: object) -> ConfigError:
    alone = str(shown).endswith(file.name)
    return ConfigError(key, shown, problem if alone else f"{file.name}: {problem}")


def _line(error: BaseException) -> str:
    return next(_lines(error), type(error).__name__)


def _lines(error: BaseException) -> Iterator[str]:
    yield from (line for line in str(error).splitlines() if line.strip())
