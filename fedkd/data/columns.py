"""Which columns of a table are the label and the features, and why the others are left out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from ..errors import PROBLEM, ConfigError, one_line
from .text import Text

IMAGE_NAMES = ("image", "img")
LABEL_NAMES = ("label", "fine_label", "labels", "target", "class")
"""Names that need no `data.label`; of several, ``label`` is the label."""

OTHER_LABELS = (*LABEL_NAMES, "coarse_label")
_INDEX = re.compile(
    r"__index_level_\d+__|(?i:unnamed: \d+|id|idx|index|row|rowid|uuid|.*_(id|idx|index|uuid))"
    r"|.*[a-z]I[dD]"
)
REMEDY = "change the column, or leave it out"
LEVELS = 50
"""Different texts that a column of categories may have."""

SHOWN = 20
"""Columns that a note names; the others are counted."""


@dataclass(frozen=True)
class Choice:
    """What is known of a table's columns before it is read.

    Attributes
    ----------
    label : str, tuple of str or None
        The column that the user calls the label, or several.
    features : tuple of str or None
        The feature columns, in order, as the user names them, or another split or data set has
        them; None = look.
    apart : tuple of str
        Columns by which samples are dealt to clients: they are no features.
    strict : bool
        Whether `label`, `features` and the text are the user's words, and one that is not there an
        error.
    optional : bool
        Whether rows without a label will do, or with several columns that could be it.
    encoding : dict or None
        What another data set's columns become (`Corpus.encoding`); None = fit it.
    targets : {"classes", "numbers", "tokens"} or None
        What labels are to be; None = as they are. Next tokens need no column of their own.
    standardise : bool or None
        Whether a table's numbers are standardised; None = if its labels are numbers.
    text : Text
        Which column is the text, if the samples are texts, and how it becomes tokens.
    """

    label: str | tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    apart: tuple[str, ...] = ()
    strict: bool = True
    optional: bool = False
    encoding: dict[str, Any] | None = None
    targets: str | None = None
    standardise: bool | None = None
    text: Text = field(default_factory=Text)

    @property
    def named(self) -> tuple[str, ...] | None:
        """The features that the user names."""
        return self.features if self.strict else None

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides how rows are read, where they are not refused, JSON-ready."""
        known = {k: v for k, v in vars(self).items() if k not in ("strict", "optional")}
        targets = None if self.targets == "classes" else self.targets  # what can be both is these
        return known | {"targets": targets, "text": vars(self.text)}


@dataclass(frozen=True)
class Columns:
    """The columns of a table, sorted out; JSON-ready through `vars`."""

    label: str | None
    features: tuple[str, ...]
    left: dict[str, str]
    """columns that are not used, and why"""
    kind: str = "features"
    """what the features are: features, pictures, an array or texts"""
    seen: str = ""
    """what else is worth saying"""

    def told(self) -> str:
        """Return the columns in one line.

        Examples
        --------
        >>> Columns("cut", ("carat", "depth"), {"id": "an index"}).told()
        "label 'cut', features carat, depth; left out: id (an index)"
        """
        label = f"label {self.label!r}, " if self.label is not None else ""
        text = f"{label}{self.kind} {listed(list(self.features)) or 'none'}{self.seen}"
        left = [f"{name} ({reason})" for name, reason in self.left.items()]
        return one_line(f"{text}; left out: {listed(left)}" if left else text, PROBLEM)

    def again(self, choice: Choice) -> Choice:
        """Return what is known of a table's columns once another's are these."""
        if self.kind == "texts":
            return replace(choice, text=replace(choice.text, column=self.features[0]))
        return replace(choice, features=self.features) if self.kind == "features" else choice

    @property
    def plain(self) -> bool:
        """Whether nothing needs to be said: pictures with a label, and nothing left out."""
        usual = self.label is None or self.label in LABEL_NAMES
        return self.kind == "pictures" and usual and not self.left and not self.seen


def target_told(y: NDArray[Any], names: list[str]) -> str:
    """Return the task and what there is to tell: classes, or a range of numbers.

    Parameters
    ----------
    y : ndarray, shape [n] or [n, targets]
    names : list of str
        The classes; none = numbers.

    Examples
    --------
    >>> import numpy as np
    >>> target_told(np.array([0, 1]), ["no", "yes"]), target_told(np.array([2.5, 1e6]), [])
    ('classification, 2 classes (no, yes)', 'regression, 2.5 to 1e+06')
    """
    if not names:
        return f"regression, {y.min():g} to {y.max():g}"
    shown = ", ".join(names[:5]) + ", ..." * (len(names) > 5)
    return f"classification, {len(names)} classes ({shown})"


def find_labels(dataset: Any, choice: Choice, key: str, shown: object) -> tuple[str, ...]:
    """Return the label's columns: those of the user, or the one of `find_label`.

    Raises
    ------
    ConfigError
        As `find_label`.
    """
    if isinstance(choice.label, tuple):
        names = [replace(choice, label=name) for name in choice.label]
    else:
        names = [choice]
    found = [find_label(dataset, one, key, shown) for one in names]
    return () if None in found else tuple(filter(None, found))


def find_label(dataset: Any, choice: Choice, key: str, shown: object) -> str | None:
    """Return the label's column: the user's, the one that is called so, or the only classes.

    None if there is none and it is optional.

    Raises
    ------
    ConfigError
        If there is no such column, or more than one could be it.
    """
    import datasets

    features: Mapping[str, Any] = dataset.features
    if choice.label in features:
        return str(choice.label)
    if choice.label is not None and choice.strict:
        raise ConfigError("data.label", choice.label, f"{shown} has no such column", features)
    named = [name for name in LABEL_NAMES if name in features]
    classes = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    found = named[:1] if "label" in named else named or classes
    if choice.optional:
        found = [name for name in found if name not in (choice.features or ())]
        if len(found) != 1:
            return None
    if len(found) > 1:
        problem = f"which column of {shown} is the label? name it with data.label=COLUMN"
        raise ConfigError("data.label", None, problem, found)
    if not found:
        problem = (
            f"needs a label column ({', '.join(LABEL_NAMES[:3])}; others: data.label=COLUMN) and "
            f"an image column ({' or '.join(IMAGE_NAMES)}) or numeric columns; "
            f"found {len(dataset)} rows of: {listed(list(features))}"
        )
        raise ConfigError(key, shown, problem)
    return found[0]


def find_images(features: Mapping[str, Any], key: str, shown: object) -> str | None:
    """Return the column of encoded pictures, if there is one.

    Raises
    ------
    ConfigError
        If there are several, and none has a usual name.
    """
    import datasets

    def encoded(name: str) -> bool:
        kind = features[name]
        if isinstance(kind, datasets.Image):
            return True
        binary = isinstance(kind, datasets.Value) and kind.dtype in ("binary", "large_binary")
        return name in IMAGE_NAMES and (binary or (isinstance(kind, dict) and "bytes" in kind))

    found = [name for name in features if encoded(name)]
    named = [name for name in IMAGE_NAMES if name in found] or found
    if len(found) > 1 and named == found:
        problem = f"several columns of pictures ({listed(found)}); call the right one image"
        raise ConfigError(key, shown, problem)
    return named[0] if named else None


def reason(name: str, kind: pa.DataType | None, choice: Choice) -> str | None:
    """Return why a column is no feature, None if it is one; `kind` None = no scalar.

    Examples
    --------
    >>> reason("age", pa.int8(), Choice()), reason("PassengerId", pa.int8(), Choice())
    (None, 'an index')
    """
    if name in choice.apart:
        return "the samples are dealt by it"
    if kind is None:
        return "no scalars"
    if not (numeric(kind) or textual(kind) or dated(kind)):
        return str(kind)
    if choice.named:
        return None
    if _INDEX.fullmatch(name):
        return "an index"
    return "another label" if name in OTHER_LABELS else None


def check_named(
    choice: Choice,
    label: str | None,
    features: Mapping[str, Any],
    why: Mapping[str, str | None],
    shown: object,
) -> None:
    """Refuse features that the user names and that cannot be used.

    Parameters
    ----------
    choice : Choice
    label : str or None
    features : mapping of str
        The columns beside the label.
    why : mapping of str to str or None
        Why a column can be no feature.
    shown
        What errors name.

    Raises
    ------
    ConfigError
        For the first that is not there, is the label or is no feature.
    """
    for name in choice.named or ():
        if name == label:
            raise ConfigError("data.features", name, "is the label; leave it out")
        if name not in features:
            raise ConfigError("data.features", name, f"{shown} has no such column", features)
        if choice.named and choice.named.count(name) > 1:
            raise ConfigError("data.features", name, "is named twice; leave one out")
        if why[name] is not None:
            raise ConfigError("data.features", name, f"is no feature ({why[name]}); {REMEDY}")


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


def listed(names: list[str]) -> str:
    """Return names in a line; of many, how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
