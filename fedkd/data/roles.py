"""Which column of a table is the label, which ones can be features, and why the others cannot."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from ..errors import ConfigError
from .columns import LABEL_NAMES, Choice, listed
from .recognising import dated, numeric, textual

IMAGE_NAMES = ("image", "img")
OTHER_LABELS = (*LABEL_NAMES, "coarse_label")
_INDEX = re.compile(
    r"__index_level_\d+__|(?i:unnamed: \d+|id|idx|index|row|rowid|uuid|.*_(id|idx|index|uuid))"
    r"|.*[a-z]I[dD]"
)
REMEDY = "change the column, or leave it out"


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
