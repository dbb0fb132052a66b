"""From `datasets.Dataset` rows or user arrays to plain arrays, once per data set."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import ConfigError
from .columns import Choice, Columns, find_label
from .given import as_array, samples
from .labels import check_range, classes, from_column
from .tables import samples_of, scalars

TEST_SPLITS = ("test", "validation", "valid")
"""Names that the test split may have; the first that is there is it."""


@dataclass
class Raw:
    """One decoded split.

    x : uint8 images ``[n, h, w]`` or ``[n, h, w, c]``, float32 features as given, or texts ``[n]``.
    y : labels as given, ``[n]``; `class_names` is set when they already are 0..C-1.
    table : the other scalar columns, for partitioners.
    columns : which column became what; None for arrays.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    table: pa.Table
    class_names: list[str] | None = None
    columns: Columns | None = None

    def take(self, indices: NDArray[np.int64]) -> "Raw":
        """Return the rows at `indices`."""
        rows = self.x[indices], self.y[indices], self.table.take(indices)
        return Raw(*rows, self.class_names, self.columns)


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

    A data frame's columns are sorted out as those of a data set, and found again by name.
    """
    labels, names = as_array(y, key, "y", mixed=True), None
    if not labels.ndim or not len(labels):
        raise ConfigError(key, f"y {list(labels.shape)}", "must be [samples], and not empty")
    labels, names = classes(labels, key, "y")
    table, columns = pa.table({}), None
    if hasattr(x, "columns") and hasattr(x, "to_numpy"):
        frame = _from_frame(x, key)
        found, table, columns = samples_of(frame, None, key, "x", choice or Choice())
        index = [str(name) for name in x.index.names if name is not None]
        left = columns.left | dict.fromkeys(index, "the frame's index")
        columns = replace(columns, left=left)
    else:
        found = as_array(x, key, "x")
        found = found.astype(object) if _are_texts(x, found) else samples(found, key)
    if len(found) != len(labels):
        problem = "x must be [samples, ...] and y [samples], equally long"
        raise ConfigError(key, f"arrays {list(found.shape)} and {list(labels.shape)}", problem)
    return Raw(found, labels, table, names, columns)


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
        If no label, or neither an image nor numeric columns are found; the columns are listed.
    """
    import datasets

    if not len(dataset):
        raise ConfigError(key, shown, "has a split without rows")
    label = find_label(dataset, choice, key, shown)
    kind, about = dataset.features[label], (key, f"{shown}, column {label!r}")
    if label == choice.label and choice.strict:
        about = "data.label", label
    y, names = classes(from_column(scalars(dataset, [label]).column(label), *about), *about)
    if isinstance(kind, datasets.ClassLabel) and kind.names:
        names = list(kind.names)
        check_range(y, names, *about)
    x, table, columns = samples_of(dataset, label, key, shown, choice, outside)
    return Raw(x, y, table, names, columns)


def decoded(
    splits: Mapping[str, Any], key: str, shown: object, choice: Choice, *, outside: bool = False
) -> dict[str, Raw]:
    """Decode the splits, the test split with the columns of the other."""
    with quiet():
        train = decode(splits["train"], key, shown, choice, outside=outside)
        if "test" not in splits:
            return {"train": train}
        test, shown, columns = splits["test"], f"{shown}, test split", train.columns
        assert columns is not None  # only arrays have none
        if columns.label not in test.features:
            raise ConfigError(key, shown, f"lacks the label column {columns.label!r} of the other")
        if columns.kind == "texts" and columns.features[0] not in test.features:
            raise ConfigError(key, shown, f"lacks the text column {columns.features[0]!r}")
        choice = replace(columns.again(choice), label=columns.label, strict=False)
        return {"train": train, "test": decode(test, key, shown, choice, outside=outside)}


def _from_frame(frame: Any, key: str) -> Any:
    import datasets

    try:
        return datasets.Dataset.from_pandas(frame, preserve_index=False)
    except (ValueError, TypeError, pa.ArrowException) as error:
        problem = f"cannot be read ({str(error).splitlines()[0]})"
        raise ConfigError(key, f"x {list(frame.shape)}", problem) from error
