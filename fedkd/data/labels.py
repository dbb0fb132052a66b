"""Labels of any kind, as classes or as numbers."""

from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import ConfigError
from .recognising import numeric
from .targets import are_numbers, numbers

_EXACT = 2**53
"""Largest integer up to which a real number stands for one and no other."""


_MISSING = "drop those rows, or fill them in"


def classes(y: NDArray[Any], key: str, shown: object) -> tuple[NDArray[Any], list[str] | None]:
    """Return labels as integers or text ``[n]``, and the classes' names if they are known.

    Parameters
    ----------
    y : ndarray, shape [n], [n, 1] or one-hot [n, classes]
        Integers, booleans, whole numbers, text or UTF-8 bytes.
    key, shown
        What errors name.

    Raises
    ------
    ConfigError
        If some are missing, are of several kinds, or are no classes.

    Examples
    --------
    >>> classes(np.array([[0, 1], [1, 0]]), "data", "y")
    (array([1, 0]), ['0', '1'])
    >>> classes(np.array([b"b", b"a"]), "data", "y")[0].tolist()
    ['b', 'a']
    """

    def refused(problem: str) -> ConfigError:
        return ConfigError(key, shown, f"labels {problem}")

    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.dtype.kind == "O":
        y = _uniform(y, refused)
    if _is_one_hot(y):
        return y.argmax(axis=1), [str(column) for column in range(y.shape[1])]
    if y.ndim != 1:
        raise refused(f"{list(y.shape)} are neither one class a sample nor one-hot")
    if y.dtype.kind == "S":
        y = _uniform(y.astype(object), refused)
    if y.dtype.kind == "f":
        if missing := int(np.isnan(y).sum()):
            raise refused(f"are missing (nan) in {missing} of {len(y)} rows; {_MISSING}")
        if not (np.abs(y) < _EXACT).all() or (y != np.floor(y)).any():
            raise refused("are real numbers, no classes; use task=regression, or whole numbers")
        y = y.astype(np.int64)
    if y.dtype.kind not in "biuUO":
        raise refused(f"of type {y.dtype} are no classes; use integers or text")
    if y.dtype.kind == "u" and y.max() > np.iinfo(np.int64).max:
        raise refused("are too large")
    return (y.astype(np.int64) if y.dtype.kind in "bu" else y), None


def _is_one_hot(y: NDArray[Any]) -> bool:
    numbers = y.ndim == 2 and y.dtype.kind in "biuf"
    return bool(numbers and ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())


def _uniform(y: NDArray[Any], refused: Any) -> NDArray[Any]:
    """Return Python objects as an array of numbers or of text."""
    flat = y.ravel().tolist()
    if missing := sum(value is None for value in flat):
        raise refused(f"are missing (None) in {missing} of {len(y)} rows; {_MISSING}")
    if all(isinstance(value, bytes) for value in flat):
        try:
            flat = [value.decode() for value in flat]
        except UnicodeDecodeError as error:
            raise refused("are bytes that are no text; use integers or text") from error
    found = np.empty(len(flat), dtype=object)
    found[:] = flat
    if all(isinstance(value, Real | np.bool_) for value in flat):
        found = np.array(flat)  # too large ones stay objects
    elif all(isinstance(value, str) for value in flat):
        return found.reshape(y.shape)
    if found.dtype.kind not in "biuf":
        kinds = sorted({type(value).__name__ for value in flat})
        raise refused(f"hold {', '.join(kinds)}; use integers or text, of one kind")
    return found.reshape(y.shape)


def from_column(column: pa.ChunkedArray, key: str, shown: object) -> NDArray[Any]:
    """Return the values of a label column, for `classes`.

    Raises
    ------
    ConfigError
        If some are missing, or they are no classes.
    """
    kind = column.type
    missing = column.null_count
    if pa.types.is_floating(kind):
        missing += int(np.isnan(column.drop_null().to_numpy()).sum())
    if missing:
        problem = f"has missing labels in {missing} of {len(column)} rows; {_MISSING}"
        raise ConfigError(key, shown, problem)
    if pa.types.is_dictionary(kind):
        return from_column(column.cast(kind.value_type), key, shown)
    if pa.types.is_floating(kind):
        problem = "holds real numbers, no classes; use integers or text, or task=regression"
        raise ConfigError(key, shown, problem)
    lists = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    if any(test(kind) for test in lists):
        rows = column.to_pylist()
        if len({len(row) for row in rows}) > 1:
            raise ConfigError(key, shown, "holds lists of unequal length, no classes")
        return np.array(rows, dtype=object)
    fine = pa.types.is_integer, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string
    if not any(test(kind) for test in (*fine, pa.types.is_binary, pa.types.is_large_binary)):
        raise ConfigError(key, shown, f"holds {kind}, no classes; use integers or text")
    values: NDArray[Any] = column.to_numpy()
    return values


def hold_numbers(columns: pa.Table, targets: str | None) -> bool:
    """Say whether label columns hold numbers, no classes: as told, or as they look.

    Examples
    --------
    >>> table = pa.table({"a": [1, 2], "b": [0.5, 1.0]})
    >>> [hold_numbers(table.select([name]), None) for name in "ab"], hold_numbers(table, None)
    ([False, True], True)
    """
    if targets is not None or columns.num_columns > 1:
        return targets != "classes"
    only = columns.column(0)
    real = pa.types.is_floating(only.type) or pa.types.is_decimal(only.type)
    return real and are_numbers(only.cast(pa.float64()).to_numpy())


def numbers_of(columns: pa.Table, key: str, shown: object) -> NDArray[np.float32]:
    """Return label columns of numbers, ``[n]`` or ``[n, targets]``.

    Raises
    ------
    ConfigError
        If one holds no numbers, or some are missing.
    """
    for name in columns.column_names:
        if not numeric(columns.schema.field(name).type):
            problem = f"column {name!r} holds {columns.schema.field(name).type}, no numbers; use "
            raise ConfigError(key, shown, f"{problem}numbers, or task=classification")
        if columns.column(name).null_count:
            raise ConfigError(key, shown, f"column {name!r} has missing labels")
    found = [column.cast(pa.float64(), safe=False).to_numpy() for column in columns.columns]
    return numbers(np.stack(found, axis=1), key, shown)


def check_range(y: NDArray[Any], names: list[str], key: str, shown: object) -> None:
    """Refuse labels that are not among the classes' names."""
    low, high = y.min(), y.max()
    if low < 0 or high >= len(names):
        problem = f"holds {low if low < 0 else high}, and there are classes 0 to {len(names) - 1}"
        raise ConfigError(key, shown, problem)
