"""How a table's column becomes numbers: with constants that scikit-learn fits on training rows."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .recognising import dated, numeric, textual

_DAY = 86_400e6
"""Microseconds."""


class Coding(Protocol):
    """What a column becomes. Its constants are JSON-ready, and never fitted again."""

    holds: ClassVar[str]
    """what such a column holds, in an error's words"""

    @staticmethod
    def takes(kind: pa.DataType | None) -> bool:
        """Say whether a column of this type is one."""

    @classmethod
    def fit(cls, column: pa.ChunkedArray) -> Self:
        """Find the constants in a column of training rows, which is not constant."""

    def apply(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        """Return a column of any rows, float64 [n, width]."""

    def told(self, columns: list[pa.ChunkedArray]) -> dict[str, str | None]:
        """Return what is done with such columns: of which kind, and what to add to its name.

        Parameters
        ----------
        columns : list of pyarrow.ChunkedArray
            The column in each split.

        Returns
        -------
        dict of str to str or None
            None = its name need not be said.
        """


@dataclass(frozen=True)
class Number:
    """A number as given; in place of a missing one the median of the training rows.

    Examples
    --------
    >>> coding = Number.fit(pa.chunked_array([[1, 2, 9, None]]))
    >>> coding
    Number(median=2.0, flagged=True)
    >>> coding.apply(pa.chunked_array([[5.5, None]])).tolist()
    [[5.5, 0.0], [2.0, 1.0]]
    """

    holds: ClassVar[str] = "numbers"
    median: float
    flagged: bool
    """whether a second number is 1 where the first is missing, as it is in some training row"""

    @staticmethod
    def takes(kind: pa.DataType | None) -> bool:
        """Say whether a column of this type holds numbers."""
        return numeric(kind)

    @classmethod
    def fit(cls, column: pa.ChunkedArray) -> Self:
        """Find median and whether there are missing ones."""
        return cls(*_imputed(numbers(column)))

    def apply(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        """Return the numbers, [n, 1], or [n, 2] if `flagged`."""
        return _filled(numbers(column), self.median, self.flagged)

    def told(self, columns: list[pa.ChunkedArray]) -> dict[str, str | None]:
        """Return that numbers are as given, and how many were missing."""
        return {"numbers as given, not standardised": None} | _missing(columns, self.flagged)


@dataclass(frozen=True)
class _Standardised:
    """Numbers less their mean, by their standard deviation; the median for missing ones."""

    median: float
    flagged: bool
    mean: float
    std: float

    @classmethod
    def fit(cls, column: pa.ChunkedArray) -> Self:
        """Find the median, and mean and standard deviation with it in place of missing ones."""
        from sklearn.preprocessing import StandardScaler

        values = numbers(column)
        median, flagged = _imputed(values)
        scaler = StandardScaler().fit(_filled(values, median, False))
        return cls(median, flagged, float(scaler.mean_[0]), float(scaler.scale_[0]))

    def apply(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        """Return standardised numbers, [n, 1], or [n, 2] if `flagged`."""
        found = _filled(numbers(column), self.median, self.flagged)
        found[:, 0] = (found[:, 0] - self.mean) / self.std
        return found


@dataclass(frozen=True)
class Scaled(_Standardised):
    """A number, standardised.

    Examples
    --------
    >>> column = pa.chunked_array([[100, 300, 500]])
    >>> Scaled.fit(column).apply(column).round(2).tolist()
    [[-1.22], [0.0], [1.22]]
    """

    holds: ClassVar[str] = Number.holds

    @staticmethod
    def takes(kind: pa.DataType | None) -> bool:
        """Say whether a column of this type holds numbers."""
        return numeric(kind)

    def told(self, columns: list[pa.ChunkedArray]) -> dict[str, str | None]:
        """Return that numbers are standardised, and how many were missing."""
        return {"numbers standardised": None} | _missing(columns, self.flagged)


@dataclass(frozen=True)
class Date(_Standardised):
    """A date or time in days, standardised: it has no natural zero.

    Examples
    --------
    >>> from datetime import date
    >>> days = pa.chunked_array([[date(2024, 1, day) for day in (1, 3, 5)]])
    >>> Date.fit(days).apply(days).round(2).tolist()
    [[-1.22], [0.0], [1.22]]
    """

    holds: ClassVar[str] = "dates"

    @staticmethod
    def takes(kind: pa.DataType | None) -> bool:
        """Say whether a column of this type holds dates."""
        return dated(kind)

    def told(self, columns: list[pa.ChunkedArray]) -> dict[str, str | None]:
        """Return that dates are standardised, and how many were missing."""
        return {"dates in days, standardised": ""} | _missing(columns, self.flagged)


@dataclass(frozen=True)
class Category:
    """A text that is one of few, one-hot; a missing one is a level if training rows lack some.

    Examples
    --------
    >>> coding = Category.fit(pa.chunked_array([["b", "a", None, "b"]]))
    >>> coding
    Category(levels=('a', 'b', None))
    >>> coding.apply(pa.chunked_array([["b", None, "unheard of"]])).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """

    holds: ClassVar[str] = "text"
    levels: tuple[str | None, ...]

    @staticmethod
    def takes(kind: pa.DataType | None) -> bool:
        """Say whether a column of this type holds text."""
        return textual(kind)

    @classmethod
    def fit(cls, column: pa.ChunkedArray) -> Self:
        """Find the levels."""
        from sklearn.preprocessing import OneHotEncoder

        return cls(tuple(OneHotEncoder().fit(_texts(column)).categories_[0].tolist()))

    def apply(self, column: pa.ChunkedArray) -> NDArray[np.float64]:
        """Return a 1 at the level, [n, levels]; none for a level that is not known."""
        if not len(column):  # the test split of what has no labels
            return np.zeros((0, len(self.levels)))
        from sklearn.preprocessing import OneHotEncoder

        known = np.array(self.levels, dtype=object)
        encoder = OneHotEncoder(categories=[known], handle_unknown="ignore", sparse_output=False)
        found: NDArray[np.float64] = encoder.fit(known[:, None]).transform(_texts(column))
        return found

    def told(self, columns: list[pa.ChunkedArray]) -> dict[str, str | None]:
        """Return how many levels there are, and how many rows have another."""
        unknown = sum(int((~self.apply(column).any(axis=1)).sum()) for column in columns)
        others = f", {unknown} rows of none" if unknown else ""
        return {"one-hot": f" ({len(self.levels)} levels{others})"}


KINDS: dict[str, type[Coding]] = {
    "number": Number,
    "scaled": Scaled,
    "category": Category,
    "date": Date,
}


def coding_for(kind: pa.DataType | None, standardise: bool) -> type[Coding] | None:
    """Return what a column of this type becomes; None if it can be no feature."""
    found = next((coding for coding in KINDS.values() if coding.takes(kind)), None)
    return Scaled if standardise and found is Number else found


def to_json(codings: dict[str, Coding]) -> dict[str, Any]:
    """Return codings by column as `from_json` takes them."""
    names = {coding: name for name, coding in KINDS.items()}
    return {
        column: {"kind": names[type(coding)]} | asdict(coding)  # type: ignore[call-overload]
        for column, coding in codings.items()
    }


def from_json(held: dict[str, Any]) -> dict[str, Coding]:
    """Return the codings that `to_json` was given.

    Examples
    --------
    >>> codings = {"age": Number(41.5, False), "sex": Category(("f", "m", None))}
    >>> import json
    >>> from_json(json.loads(json.dumps(to_json(codings)))) == codings
    True
    """
    found = {}
    for column, about in held.items():
        constants = {name: value for name, value in about.items() if name != "kind"}
        constants |= {name: tuple(v) for name, v in constants.items() if isinstance(v, list)}
        found[column] = KINDS[about["kind"]](**constants)
    return found


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return numbers, or dates in days since 1970 (UTC), float64 [n]; NaN = missing."""
    if dated(column.type):
        zone = getattr(column.type, "tz", None) and "UTC"
        column = column.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
        return column.cast(pa.float64(), safe=False).to_numpy() / _DAY
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    return values


def _texts(column: pa.ChunkedArray) -> NDArray[Any]:
    return np.array([*column.to_pylist(), None], dtype=object)[:-1, None]  # None keeps it objects


def _missing(columns: list[pa.ChunkedArray], flagged: bool) -> dict[str, str | None]:
    count = sum(int(np.isnan(numbers(column)).sum()) for column in columns)
    flag = ", flagged" if flagged else ""
    return {"missing = training median": f" ({count}{flag})"} if count else {}


def _imputed(values: NDArray[np.float64]) -> tuple[float, bool]:
    if not np.isnan(values).any():  # importing scikit-learn takes longer than all the rest
        return float(np.median(values)), False
    from sklearn.impute import SimpleImputer

    imputer = SimpleImputer(strategy="median", add_indicator=True).fit(values[:, None])
    return float(imputer.statistics_[0]), bool(len(imputer.indicator_.features_))


def _filled(values: NDArray[np.float64], median: float, flagged: bool) -> NDArray[np.float64]:
    missing = np.isnan(values)
    filled = np.where(missing, median, values)
    return np.stack([filled, missing] if flagged else [filled], axis=1)
