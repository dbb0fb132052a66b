"""Data sets of torch, read sample by sample, or at once where they hold tensors."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from ..errors import ConfigError
from ..rng import scoped
from .given import as_array
from .pictures import Pictures


def is_torch(given: Any) -> bool:
    """Say whether something is a data set of torch; streams of `datasets` only look like one."""
    return isinstance(given, Dataset) and not hasattr(given, "column_names")


def read(data: Any, key: str) -> tuple[Any, Any]:
    """Return the samples and labels of a map-style data set; None for labels it has not.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        Its samples are ``(x, y)``, or x alone: arrays, tensors, numbers or PIL pictures.
    key : str
        What errors name.

    Raises
    ------
    ConfigError
        If it is a stream, is empty, cannot be read, differs each time it is read, or its samples
        are something else.

    Examples
    --------
    >>> import torch
    >>> x, y = read(TensorDataset(torch.zeros(4, 2), torch.arange(4)), "data")
    >>> x.shape, y.tolist()
    (torch.Size([4, 2]), [0, 1, 2, 3])
    """
    kind = type(data).__name__
    if isinstance(data, IterableDataset):
        problem = "is a stream of torch; read it into arrays (x, y), or give a map-style Dataset"
        raise ConfigError(key, kind, problem)
    held = _tensors(data)
    if held is not None:
        if len(held) > 2:
            raise ConfigError(key, kind, f"has {len(held)} tensors; fedkd takes x and y")
        return held[0], held[1] if len(held) == 2 else None
    return _columns(_rows(data, key, kind), key, kind)


def _tensors(data: Any) -> tuple[Any, ...] | None:
    """Return the tensors of a `TensorDataset`, or of a subset of one."""
    if type(data) is TensorDataset:
        return tuple(data.tensors)
    if type(data) is Subset:
        inner = _tensors(data.dataset)
        if inner is None or any(not -len(inner[0]) <= one < len(inner[0]) for one in data.indices):
            return None  # read one by one, to say which sample is not there
        return tuple(one[torch.as_tensor(list(data.indices), dtype=torch.long)] for one in inner)
    return None


def _rows(data: Any, key: str, kind: str) -> list[Any]:
    position = 0
    try:
        with scoped(0):  # what augments at random must not move the generators of others
            rows = []
            for position in range(len(data)):
                rows.append(data[position])
            again = data[0] if rows else None
    except Exception as error:  # the data set's code is the user's
        reason = f"{type(error).__name__} {str(error).splitlines()[:1] or ''}"
        problem = f"its sample {position} cannot be read ({reason})"
        raise ConfigError(key, kind, problem) from error
    if not rows:
        raise ConfigError(key, kind, "has no samples")
    if not _same(rows[0], again):
        problem = "its first sample differs each time; leave random transforms out (fit.augment)"
        raise ConfigError(key, kind, problem)
    return rows


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    try:
        return np.array_equal(np.asarray(one), np.asarray(other))
    except (TypeError, ValueError, RuntimeError):
        return True  # what is no array is refused later


def _columns(rows: list[Any], key: str, kind: str) -> tuple[Any, Any]:
    pairs = [isinstance(row, tuple | list) and len(row) == 2 for row in rows]
    if all(pairs):
        x, y = zip(*rows, strict=True)
        return _samples(x, key, kind), list(y)
    if any(pairs) or isinstance(rows[0], tuple | list | dict | str):
        shown = type(rows[pairs.index(False)]).__name__
        problem = f"its sample {pairs.index(False)} is a {shown}, and must be (x, y)"
        raise ConfigError(key, kind, problem)
    return _samples(rows, key, kind), None


def _samples(x: Iterable[Any], key: str, kind: str) -> Any:
    x = list(x)
    if not all(isinstance(one, Image.Image) for one in x):
        return as_array(x, key, f"x of {kind}")
    pictures = Pictures(len(x), key, kind)
    for one in x:
        pictures.add(one, False)
    return pictures.pixels
