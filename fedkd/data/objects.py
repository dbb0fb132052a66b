"""Data given as Python objects: arrays, tensors, data frames, `datasets`, torch data sets."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError
from .columns import Choice
from .decode import TEST_SPLITS, Raw, Source, arrays, table_source
from .fingerprint import of_dataset, of_json, of_raw
from .frames import dataset_of, index_of, is_frame, refuse_table
from .torch_sets import is_torch, read


def is_data(given: Any) -> bool:
    """Say whether `given` is data; names, folders and groups of settings are not."""
    if isinstance(given, str | Path) or given is None:
        return False
    if not isinstance(given, Mapping):
        return True
    splits = "DatasetDict" in type(given).__name__ or "train" in given
    return splits or any(hasattr(part, "features") for part in given.values())


def is_pair(part: Any) -> bool:
    """Say whether `part` is ``(x, y)`` and not an ``x`` or ``y`` of two samples."""
    if not isinstance(part, list | tuple) or len(part) != 2:
        return False
    return all(isinstance(one, list | tuple) or getattr(one, "ndim", 0) for one in part)


def is_per_client(data: Any) -> bool:
    """Say whether `data` is a list with the data of one client each, and not ``[x, y]``.

    Examples
    --------
    >>> is_per_client([([[1], [2]], [0, 1])]), is_per_client([[[1], [2]], [0, 1]])
    (True, False)
    """
    return isinstance(data, list) and any(map(_is_whole, data))


def _is_whole(part: Any) -> bool:
    """Say whether something has samples and labels, so that it is no ``x`` and no ``y``."""
    kinds = (str, Path, tuple, Mapping)
    return isinstance(part, kinds) or is_frame(part) or is_torch(part) or _is_dataset(part)


def _is_dataset(given: Any) -> bool:
    return hasattr(given, "features") and hasattr(given, "column_names")


def as_parts(data: Any, key: str) -> tuple[Any, ...]:
    """Return arrays as ``(x, y)`` or ``(x, y, x_test, y_test)``; y None = there are no labels.

    Raises
    ------
    ConfigError
        If they are neither, or a list could be more than one thing.
    """
    if is_torch(data):
        return read(data, key)
    if isinstance(data, tuple) and len(data) == 2 and all(map(is_pair, data)):
        return (*data[0], *data[1])
    if isinstance(data, list) and data and all(map(is_pair, data)):
        problem = (
            f"is it ((x, y), (x_test, y_test)), or {len(data)} clients? give a tuple of tuples for "
            "a test set, a list of tuples [(x, y), ...] for one per client"
        )
        raise ConfigError(key, f"list[{len(data)}]", problem)
    if isinstance(data, list | tuple) and len(data) in (2, 4):
        return tuple(data)
    refuse_table(data, key, type(data).__name__)
    problem = (
        "must be a name, a file, a folder, (x, y), (x, y, x_test, y_test), ((x, y), (x_test, "
        "y_test)), a data frame, a datasets.Dataset, a torch Dataset, or a list of them"
    )
    if hasattr(data, "dtype"):
        problem = "has no labels beside it; give (x, y)"
    if hasattr(data, "dataset") and hasattr(data, "batch_size"):
        problem = "hands out batches; give its .dataset"
    raise ConfigError(key, type(data).__name__, problem)


def as_samples(data: Any, key: str) -> tuple[Any, ...]:
    """Return what need not have labels as `as_parts` does: ``x`` alone too, a list is ``x``.

    Raises
    ------
    ConfigError
        If a list could be ``[x, y]`` as well.
    """
    if isinstance(data, tuple) or is_torch(data):
        return as_parts(data, key)
    if isinstance(data, list) and len(data) in (2, 4) and _depth(data[0]) > 1:
        problem = "is it [x, y], or samples? give a tuple (x, y), or x as one array"
        raise ConfigError(key, f"list[{len(data)}]", problem)
    return (data, None) if isinstance(data, list) or hasattr(data, "dtype") else as_parts(data, key)


def _depth(part: Any) -> int:
    if isinstance(part, list | tuple):
        return 1 + max(map(_depth, part[:1]), default=0)
    return int(getattr(part, "ndim", 0))


def from_arrays(parts: tuple[Any, ...], key: str, choice: Choice) -> Source:
    """Return ``(x, y)`` or ``(x, y, x_test, y_test)``, checked; columns are matched by name."""
    raws = {"train": arrays(parts[0], parts[1], key, choice)}
    if choice.targets != "tokens":
        choice = replace(choice, targets="numbers" if raws["train"].numeric else "classes")
    if len(parts) == 4:
        columns = raws["train"].columns
        choice = replace(columns.again(choice), strict=False) if columns else choice
        raws["test"] = arrays(parts[2], parts[3], key, choice)
        if (raws["test"].columns is None) != (columns is None):
            raise ConfigError(key, "arrays", "of train and test one has column names; give both")
    fingerprint = of_json([of_raw(raw) for raw in raws.values()])
    return Source("arrays", fingerprint, lambda scratch: raws, named=False)


def from_tables(data: Any, key: str, choice: Choice) -> Source:
    """Return a `datasets.Dataset`, a data frame or splits of them, known by their content.

    Raises
    ------
    ConfigError
        If there is no train split, or a split is a stream or has a transform.
    """
    splits = dict(data) if isinstance(data, Mapping) else {"train": data}
    kind = type(data).__name__
    if "train" not in splits:
        raise ConfigError(key, kind, "has no train split", [str(k) for k in splits])
    chosen = {"train": splits["train"]}
    test = next((splits[name] for name in TEST_SPLITS if name in splits), None)
    if test is not None:
        chosen["test"] = test
    if all(isinstance(part, tuple) or is_torch(part) for part in chosen.values()):
        return from_arrays(_joined(chosen, key), key, choice)
    index: dict[str, str] = {}
    for name, part in chosen.items():
        shown = f"{kind}, {name} split"
        if is_frame(part):
            index |= index_of(part)
            chosen[name] = dataset_of(part, key, shown)
        else:
            _check_dataset(part, shown, key)
    fingerprint = of_json({name: of_dataset(part) for name, part in chosen.items()} | index)
    found = table_source("dataset", fingerprint, lambda s: chosen, key, kind, choice, outside=True)
    if not index:
        return found
    return replace(found, load=lambda scratch: _without(index, found.load(scratch)))


def _without(index: dict[str, str], raws: dict[str, Raw]) -> dict[str, Raw]:
    """Say that a frame's index is left out."""
    columns = raws["train"].columns
    assert columns is not None  # only arrays have none
    raws["train"].columns = replace(columns, left=columns.left | index)
    return raws


def _joined(splits: dict[str, Any], key: str) -> tuple[Any, ...]:
    parts = [as_parts(part, key) for part in splits.values()]
    if any(len(part) != 2 for part in parts):
        raise ConfigError(key, "arrays", "each split must be (x, y)")
    return tuple(one for part in parts for one in part)


def _check_dataset(part: Any, shown: str, key: str) -> None:
    import datasets

    if not isinstance(part, datasets.Dataset):
        problem = f"is a {type(part).__name__}, no datasets.Dataset"
        if isinstance(part, torch.utils.data.IterableDataset) or "Iterable" in type(part).__name__:
            problem += "; load it without streaming=True"
        raise ConfigError(key, shown, problem)
    if part.format["type"] == "custom":
        problem = "has a transform, which fedkd would leave out; apply it with map()"
        raise ConfigError(key, shown, problem)
