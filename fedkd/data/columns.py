"""Which columns of a table are the label and the features, and why the others are left out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from ..errors import PROBLEM, ConfigError, one_line
from .text import Text, is_text

IMAGE_NAMES = ("image", "img")
LABEL_NAMES = ("label", "fine_label", "labels", "target", "class")
"""Names that need no `data.label`; of several, ``label`` is the label."""

OTHER_LABELS = (*LABEL_NAMES, "coarse_label")
_INDEX = re.compile(
    r"__index_level_\d+__|(?i:unnamed: \d+|id|idx|index|row|rowid|uuid|.*_(id|idx|index|uuid))"
    r"|.*[a-z]I[dD]"
)
SHOWN = 20
"""Columns that a note names; the others are counted."""


@dataclass(frozen=True)
class Choice:
    """What is known of a table's columns before it is read.

    Attributes
    ----------
    label : str or None
        The column that the user calls the label.
    features : tuple of str or None
        The feature columns, in order, as another split or data set has them; None = look.
    apart : tuple of str
        Columns by which samples are dealt to clients: they are no features.
    strict : bool
        Whether a `label` or a text that is not there is an error.
    text : Text
        Which column is the text, if the samples are texts, and how it becomes tokens.
    """

    label: str | None = None
    features: tuple[str, ...] | None = None
    apart: tuple[str, ...] = ()
    strict: bool = True
    text: Text = field(default_factory=Text)

    def known(self) -> list[Any]:
        """Return what else than the samples decides about a decoded data set, but for texts."""
        return [{name: value for name, value in vars(self).items() if name != "text"}]


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
        text = f"{label}{self.kind} {_listed(list(self.features)) or 'none'}{self.seen}"
        left = [f"{name} ({reason})" for name, reason in self.left.items()]
        return one_line(f"{text}; left out: {_listed(left)}" if left else text, PROBLEM)

    def again(self, choice: Choice) -> Choice:
        """Return what is known of a table's columns once another's are these."""
        if self.kind == "texts":
            return replace(choice, text=replace(choice.text, column=self.features[0]))
        return replace(choice, features=self.features if self.kind == "features" else None)

    @property
    def plain(self) -> bool:
        """Whether nothing needs to be said: pictures with a label, and nothing left out."""
        usual = self.label is None or self.label in LABEL_NAMES
        return self.kind == "pictures" and usual and not self.left and not self.seen


def find_label(dataset: Any, choice: Choice, key: str, shown: object) -> str:
    """Return the label's column: the user's, the one that is called so, or the only classes.

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
    if len(found) > 1:
        problem = f"which column of {shown} is the label? name it with data.label=COLUMN"
        raise ConfigError("data.label", None, problem, found)
    if not found:
        problem = (
            f"needs a label column ({', '.join(LABEL_NAMES[:3])}; others: data.label=COLUMN) and "
            f"an image column ({' or '.join(IMAGE_NAMES)}) or numeric columns; "
            f"found {len(dataset)} rows of: {_listed(list(features))}"
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
        problem = f"several columns of pictures ({_listed(found)}); call the right one image"
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
    if not numeric(kind):
        return "text" if is_text(kind) else str(kind)
    if _INDEX.fullmatch(name):
        return "an index"
    return "another label" if name in OTHER_LABELS else None


def numeric(kind: pa.DataType | None) -> bool:
    """Say whether a column of this type holds numbers."""
    if kind is None:
        return False
    tests = pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal
    return any(test(kind) for test in tests)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
