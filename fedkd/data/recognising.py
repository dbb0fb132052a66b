"""What a table's columns hold, whatever they are called: numbers, text, dates, numbers of rows."""

import re
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LEVELS = 50
"""Different texts that a column of categories may have."""

MANY = 20
"""Rows that must differ, or it may be chance."""

NEARLY = 0.9
"""Share of different values among the rows that is enough if they only rise, or only fall."""

_CODE = re.compile(r"(?=.*\d)[\w.:/@#-]{1,64}", re.ASCII)
"""An identifier as text: one word, a digit in it."""


def numeric(kind: pa.DataType | None) -> bool:
    """Say whether a column of this type holds numbers."""
    if kind is None:
        return False
    tests = pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal
    return any(test(kind) for test in tests)


def textual(kind: pa.DataType | None) -> bool:
    """Say whether a column of this type holds text."""
    tests = pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
    return kind is not None and any(test(kind) for test in tests)


def few(column: pa.ChunkedArray) -> bool:
    """Say whether a column of text holds categories: a few texts, each in some rows.

    A text that hardly any other row has is no category, however few rows there are.
    """
    return len(column.unique()) <= min(LEVELS, len(column) // 2)


def dated(kind: pa.DataType | None) -> bool:
    """Say whether a column of this type holds dates, with or without a time of day."""
    return kind is not None and (pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def identifies(column: pa.ChunkedArray) -> bool:
    """Say whether a column tells rows apart, and so describes none of them.

    Integers and codes of letters and digits do if more than 20 rows have one and all differ, or
    nearly all and they only rise or only fall; numbers with a fraction never do.

    Examples
    --------
    >>> identifies(pa.chunked_array([range(100000, 100030)]))
    True
    >>> identifies(pa.chunked_array([[20, 31] * 15]))
    False
    >>> identifies(pa.chunked_array([[f"P-{row}" for row in range(30)]]))
    True
    """
    held = column.drop_null()
    integers = pa.types.is_integer(held.type)
    if len(held) <= MANY or not (integers or textual(held.type)):
        return False
    different = pc.count_distinct(held).as_py()
    if different < NEARLY * len(held):
        return False
    if not integers:
        return different == len(held) and _codes(held)
    if different == len(held):
        return True
    steps = np.diff(held.cast(pa.float64(), safe=False).to_numpy())
    return bool((steps >= 0).all() or (steps <= 0).all())


def _codes(held: pa.ChunkedArray) -> bool:
    with suppress(pa.ArrowInvalid):
        held.cast(pa.float64())
        return False  # numbers, which somebody forgot to convert
    return all(_CODE.fullmatch(text) for text in held.to_pylist())


def as_dates(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of ISO dates or times in text as what they are, any other one as it is.

    Examples
    --------
    >>> as_dates(pa.chunked_array([["2024-01-31", None]])).type
    TimestampType(timestamp[us])
    >>> as_dates(pa.chunked_array([["2024-01-31T12:00Z"]])).type
    TimestampType(timestamp[us, tz=UTC])
    >>> as_dates(pa.chunked_array([["2024-01-31", "soon"]])).type
    DataType(string)
    """
    if textual(column.type) and column.null_count < len(column):
        for zone in (None, "UTC"):
            with suppress(pa.ArrowInvalid):
                return column.cast(pa.timestamp("us", zone))
    return column
