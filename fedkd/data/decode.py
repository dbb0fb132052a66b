"""From `datasets.Dataset` rows or user arrays to plain arrays, once per data set."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import ConfigError, one_line
from .columns import Choice, Columns
from .frames import dataset_of, index_of, is_frame, refuse_table
from .given import as_array, samples
from .labels import check_range, classes, from_column, hold_numbers, numbers_of
from .roles import find_labels
from .tables import samples_of, scalars
from .targets import are_numbers, numbers

TEST_SPLITS = ("test", "validation", "valid")
"""Names that the test split may have; the first that is there is it."""


@dataclass
class Raw:
    """One decoded split.

    x : uint8 images ``[n, h, w]`` or ``[n, h, w, c]``, float32 features as given, or texts ``[n]``;
        a table's are ``[n, 0]`` until the training rows are known (`fedkd.data.encoding`).
    y : labels as given, ``[n]``; `class_names` is set when they already are 0..C-1.
    table : the other scalar columns, for partitioners.
    columns : which column became what; None for arrays.
    labelled : whether there are labels; else `y` is -1 and `class_names` empty.
    labels : the columns that `y` was, where it was columns.

    Labels that are numbers are float32 ``[n]`` or ``[n, targets]``.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    table: pa.Table
    class_names: list[str] | None = None
    columns: Columns | None = None
    labelled: bool = True
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.x)

    def take(self, indices: NDArray[np.int64]) -> "Raw":
        """Return the rows at `indices`."""
        x, y, table = self.x[indices], self.y[indices], self.table.take(indices)
        return replace(self, x=x, y=y, table=table)

    @property
    def numeric(self) -> bool:
        """Whether labels are numbers, no classes."""
        return bool(self.y.dtype == np.float32)


@dataclass(frozen=True)
class Source:
    """A data set that was found but not decoded yet.

    `load` takes a scratch directory and returns the splits: ``train`` always, ``test`` maybe.
    """

    name: str
    fingerprint: str
    load: Callable[[Path], dict[str, Raw]]
    defaults: dict[str, int] = field(default_factory=dict)
    named: bool = True
    """whether it has columns with names, among which there is a choice"""
    client: str | None = None
    """the column of `Raw.table` that says whose a sample is (0..N-1), where that was given"""
    tables: Callable[[Path], dict[str, Any]] | None = None
    """returns the splits with all columns, as `datasets.Dataset`, where there are columns"""
    outside: bool = False
    """whether pictures may be files that the rows of `tables` only name"""
    again: Callable[[], str] | None = None
    """takes the fingerprint of what may change while it is read"""


def table_source(
    name: str,
    fingerprint: str,
    tables: Callable[[Path], dict[str, Any]],
    key: str,
    shown: object,
    choice: Choice,
    outside: bool = False,
    again: Callable[[], str] | None = None,
) -> Source:
    """Return a data set whose columns are sorted out when it is decoded."""

    def load(scratch: Path) -> dict[str, Raw]:
        return decoded(tables(scratch), key, shown, choice, outside=outside)

    return Source(name, fingerprint, load, tables=tables, outside=outside, again=again)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars, errors and retry messages of `datasets` and the hub off the terminal."""
    import datasets
    from huggingface_hub.utils import logging

    bars, level = datasets.are_progress_bars_disabled(), logging.get_verbosity()
    said = datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    logging.set_verbosity_error()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what fails is raised, too
    try:
        yield
    finally:
        logging.set_verbosity(level)
        datasets.logging.set_verbosity(said)
        if not bars:
            datasets.enable_progress_bars()


def arrays(x: Any, y: Any, key: str = "data", choice: Choice | None = None) -> Raw:
    """Check user arrays: uint8 ``[n, h, w(, c)]`` are images, anything else features as given.

    A data frame's columns are sorted out as those of a data set, and found again by name; `y` None
    are samples without labels.
    """
    refuse_table(x, key, f"x of type {type(x).__name__}")
    choice = choice or Choice()
    tokens = choice.targets == "tokens"
    labels, names = (None, []) if y is None or tokens else _labels(y, key, choice.targets)
    table, columns = pa.table({}), None
    if is_frame(x):
        frame = dataset_of(x, key, f"x {list(x.shape)}")
        found, table, columns = samples_of(frame, None, key, "x", choice)
        columns = replace(columns, left=columns.left | index_of(x))
    else:
        found = as_array(x, key, "x")
        found = found.astype(object) if _are_texts(x, found) else samples(found, key)
    if tokens:
        return _running(found, table, columns, key, "x")
    if labels is None:
        return _unlabelled(found, table, columns)
    if len(found) != len(labels):
        problem = "x must be [samples, ...] and y [samples], equally long"
        shape = list(getattr(x, "shape", found.shape))
        raise ConfigError(key, f"arrays {shape} and {list(labels.shape)}", problem)
    return Raw(found, labels, table, names, columns)


def _labels(y: Any, key: str, targets: str | None) -> tuple[NDArray[Any], list[str] | None]:
    found = as_array(y, key, "y", mixed=True)
    if not found.ndim or not len(found):
        raise ConfigError(key, f"y {list(found.shape)}", "must be [samples], and not empty")
    if targets == "numbers" or (targets is None and are_numbers(found)):
        return numbers(found, key, "y"), None
    return classes(found, key, "y")


def _unlabelled(x: NDArray[Any], table: pa.Table, columns: Columns | None) -> Raw:
    return Raw(x, np.full(len(x), -1), table, [], columns, labelled=False)


def _running(
    x: NDArray[Any], table: pa.Table, columns: Columns | None, key: str, shown: object
) -> Raw:
    """Return texts whose labels are their own next tokens."""
    if x.dtype != object:
        problem = "the task has next tokens, and the samples are no texts; name a column of text "
        raise ConfigError(key, shown, f"{problem}with data.text=COLUMN")
    return Raw(x, np.zeros(len(x), np.int64), table, ["all"], columns)


def _are_texts(x: Any, found: NDArray[Any]) -> bool:
    """Say whether all samples are texts; a number among them would have become one."""
    whole = not isinstance(x, list | tuple) or all(isinstance(one, str) for one in x)
    return found.ndim == 1 and found.dtype.kind in "UT" and whole


def decode(dataset: Any, key: str, shown: object, choice: Choice, *, outside: bool = False) -> Raw:
    """Decode one split of a `datasets.Dataset`, whatever its image and label columns are called.

    Parameters
    ----------
    dataset : datasets.Dataset
    key, shown
        What errors name.
    choice : Choice
        What is known of its columns.
    outside : bool
        Whether pictures may be files that the rows only name.

    Raises
    ------
    ConfigError
        If no label is found; the columns are listed.
    """
    import datasets

    if not len(dataset):
        raise ConfigError(key, shown, "has a split without rows")
    if choice.targets == "tokens":
        return _running(*samples_of(dataset, None, key, shown, choice, outside), key, shown)
    labels = find_labels(dataset, choice, key, shown)
    if not labels:
        return _unlabelled(*samples_of(dataset, None, key, shown, choice, outside))
    label, names = labels[0], None
    kind = dataset.features[label]
    about: tuple[str, object] = key, f"{shown}, column {label!r}"
    if choice.label in (label, labels) and choice.strict:
        about = "data.label", label if len(labels) == 1 else list(labels)
    if labels[1:] and choice.targets == "classes":
        problem = "several columns are numbers, no classes; name one, or use task=regression"
        raise ConfigError("data.label", list(labels), problem)
    given = scalars(dataset, list(labels))
    if numeric := hold_numbers(given, choice.targets):
        _refuse_named(dataset.features, labels, *about)
        y = numbers_of(given, *about)
    else:
        y, names = classes(from_column(given.column(label), *about), *about)
    if isinstance(kind, datasets.ClassLabel) and kind.names and not numeric:
        names = list(kind.names)
        check_range(y, names, *about)
    rest = dataset.remove_columns(list(labels[1:])) if labels[1:] else dataset
    x, table, columns = samples_of(rest, label, key, shown, choice, outside)
    return Raw(x, y, table, names, replace(columns, label=", ".join(labels)), labels=labels)


def _refuse_named(
    features: Mapping[str, Any], labels: tuple[str, ...], key: str, shown: object
) -> None:
    """Refuse classes with names where labels are to be numbers: their order means nothing."""
    for label in labels:
        names = getattr(features[label], "names", None) or []
        if names != [str(place) for place in range(len(names))]:
            problem = f"are classes ({one_line(', '.join(names), 60)}), no numbers"
            raise ConfigError(
                key, shown, f"labels {problem}; use task=classification, or name a column"
            )


def decoded(
    splits: Mapping[str, Any], key: str, shown: object, choice: Choice, *, outside: bool = False
) -> dict[str, Raw]:
    """Decode the splits, the test split with the columns of the other."""
    with quiet():
        train = decode(splits["train"], key, shown, choice, outside=outside)
        if "test" not in splits or not train.labelled:
            return {"train": train}
        test, shown, columns = splits["test"], f"{shown}, test split", train.columns
        assert columns is not None  # only arrays have none
        lost = [name for name in train.labels if name not in test.features]
        if lost:
            raise ConfigError(key, shown, f"lacks the label column {lost[0]!r} of the other")
        if columns.kind == "texts" and columns.features[0] not in test.features:
            raise ConfigError(key, shown, f"lacks the text column {columns.features[0]!r}")
        choice = replace(columns.again(choice), strict=False)
        if train.labels:
            label = train.labels if len(train.labels) > 1 else train.labels[0]
            targets = "numbers" if train.numeric else "classes"
            choice = replace(choice, label=label, targets=targets)
        return {"train": train, "test": decode(test, key, shown, choice, outside=outside)}
