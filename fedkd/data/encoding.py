"""A table's columns become numbers; what is fitted for that has seen training rows only."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import ConfigError
from .codings import Coding, Date, coding_for, from_json, numbers, to_json
from .columns import Choice, listed
from .decode import Raw
from .recognising import LEVELS, as_dates, few, textual
from .roles import REMEDY


def encode(
    splits: Mapping[str, Raw], choice: Choice, key: str, shown: object
) -> dict[str, Any] | None:
    """Set the samples of a table's splits, and the columns of the training split.

    Parameters
    ----------
    splits : mapping of str to Raw
        ``train``, and ``test`` maybe.
    choice : Choice
        Its `encoding` is applied, if it has one; else one is fitted on the training split.
    key, shown
        What errors name.

    Returns
    -------
    dict or None
        What each feature becomes, JSON-ready; None if the samples are no table.

    Raises
    ------
    ConfigError
        If no column can be used, one that the user names cannot, or a split lacks one or holds
        something else in it.
    """
    train = splits["train"]
    columns = train.columns
    if columns is None or columns.kind != "features":
        return None
    if choice.encoding is None:
        given = choice.standardise
        scaled = replace(choice, standardise=train.numeric if given is None else given)
        codings, left = fit(train.table, columns.features, scaled, key, shown)
    else:
        codings, left = from_json(choice.encoding), {}
    columns = replace(columns, features=tuple(codings), left=columns.left | left)
    if not codings:
        names = [*columns.left, *filter(None, [columns.label])]
        rows = sum(len(raw.y) for raw in splits.values())
        problem = (
            "needs rows with an image column, or columns of numbers, dates or few texts; "
            f"found {rows} rows of: {', '.join(names)} ({columns.told()})"
        )
        raise ConfigError(key, shown, problem)
    for split, raw in splits.items():
        raw.x = apply(raw.table, codings, key, shown if split == "train" else f"{shown}, {split}")
    tables = [raw.table for raw in splits.values()]
    train.columns = replace(columns, seen=_told(codings, tables))
    return to_json(codings)


def fit(
    table: pa.Table, names: tuple[str, ...], choice: Choice, key: str, shown: object
) -> tuple[dict[str, Coding], dict[str, str]]:
    """Return what columns become, fitted on these rows, and why some of them are left out.

    Raises
    ------
    ConfigError
        If one that the user names cannot be used, or one holds values that are not finite.

    Examples
    --------
    >>> table = pa.table({"a": [1, 2, None, 4], "b": ["x", "y", "x", "y"], "c": [7, 7, 7, 7]})
    >>> codings, left = fit(table, ("a", "b", "c"), Choice(), "data", "mine")
    >>> codings
    {'a': Number(median=2.0, flagged=True), 'b': Category(levels=('x', 'y'))}
    >>> left
    {'c': 'constant'}
    """
    codings: dict[str, Coding] = {}
    left = {}
    for name in names:
        column = as_dates(table.column(name))
        kind = coding_for(column.type, bool(choice.standardise))
        why = _unfit(column, choice.named is not None)
        if not textual(column.type):
            _finite(_single(numbers(column)[:, None]), name, key, shown)
        if why is None and kind is not None:
            codings[name] = kind.fit(column)
        elif choice.named:
            raise ConfigError("data.features", name, f"is no feature ({why}); {REMEDY}")
        else:
            left[name] = str(why)
    return codings, left


def apply(
    table: pa.Table, codings: Mapping[str, Coding], key: str, shown: object
) -> NDArray[np.float32]:
    """Return rows as samples, float32 [n, widths], by constants that were fitted before.

    Raises
    ------
    ConfigError
        If a column is not there, holds another kind of values, or some that are not finite.
    """
    lost = [name for name in codings if name not in table.column_names]
    if lost:
        problem = f"lacks the feature columns {listed(lost)}; columns are matched by name"
        raise ConfigError(key, shown, problem)
    parts = []
    for name, coding in codings.items():
        column = _column(table, name, coding)
        if not coding.takes(column.type) and not pa.types.is_null(column.type):
            held = f"{column.type}, and {coding.holds} in the training rows"
            raise ConfigError(key, shown, f"column {name!r} holds {held}; convert it")
        parts.append(_single(coding.apply(column)))
        _finite(parts[-1], name, key, shown)
    return np.concatenate(parts, axis=1)


def _column(table: pa.Table, name: str, coding: Coding) -> pa.ChunkedArray:
    column = table.column(name)
    return as_dates(column) if isinstance(coding, Date) else column


def _unfit(column: pa.ChunkedArray, named: bool) -> str | None:
    """Return why a column of training rows can be no feature, None if it can."""
    if not textual(column.type):
        levels = np.unique(numbers(column)).tolist()  # takes all NaN for one
        return _same(levels) if len(levels) == 1 else None
    levels = column.unique().to_pylist()
    if len(levels) == 1:
        return _same(levels)
    if few(column) or (named and len(levels) <= LEVELS):
        return None
    meant = _meant([level for level in levels if level is not None])
    return (
        f"{len(levels)} different texts, at most {LEVELS} are one-hot; {meant}" if named else meant
    )


def _same(levels: list[Any]) -> str:
    return "no values" if levels[0] is None or levels[0] != levels[0] else "constant"


def _meant(levels: list[str]) -> str:
    """Return what many different texts seem to be."""
    odd = [level for level in levels if not _reads(level)]
    if 2 * len(odd) < len(levels):
        stray = f", but for {odd[0]!r}" if odd else ""
        return f"numbers as text{stray}: convert them"
    return "text; name it with data.text"


def _reads(level: str) -> bool:
    with suppress(ValueError):
        return float(level) is not None
    return False


def _single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _finite(values: NDArray[np.float32], name: str, key: str, shown: object) -> None:
    if wrong := int(np.isinf(values).any(axis=1).sum()):
        problem = f"column {name!r} is not finite in {wrong} of {len(values)} rows"
        raise ConfigError(key, shown, f"{problem}; mend these values or empty them")


def _told(codings: Mapping[str, Coding], tables: list[pa.Table]) -> str:
    """Return how columns become numbers, and how many values were missing or unknown."""
    told: dict[str, list[str]] = {}
    for name, coding in codings.items():
        for words, about in coding.told([_column(t, name, coding) for t in tables]).items():
            told.setdefault(words, []).extend([] if about is None else [f"{name}{about}"])
    return "".join(f"; {words}{': ' * bool(of)}{listed(of)}" for words, of in told.items())
