"""Row numbers that a user gave, as a file or as objects, checked: who holds which rows of what."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ..config import RunConfig
from ..errors import ConfigError
from .corpus import Corpus

Rows = NDArray[np.int64]
HELD = ("data.split", "data.partitioner", "transfer.split")
"""Keys of what may be Python objects: who holds what."""
_READABLE = {
    "data.split": ".npz (an array a client, or rows and offsets) or .json (a list a client)",
    "transfer.split": ".npz or .npy (one array) or .json (a list)",
}


def located(config: RunConfig, given: Mapping[str, Any]) -> RunConfig:
    """Return the configuration with files of row numbers found from any working directory."""
    nodes: dict[str, Any] = {"data": config.data, "transfer": config.transfer}
    for name, node in nodes.items():
        if node.split is not None and f"{name}.split" not in given:
            nodes[name] = replace(node, split=str(Path(node.split).expanduser().resolve()))
    return replace(config, **nodes)


def shares(given: Any, corpus: Corpus) -> tuple[list[str], list[Rows], int]:
    """Return the clients' names and rows that ``data.split`` gives.

    Parameters
    ----------
    given : str, mapping or sequence
        A file, ``{name: rows}`` or a list of rows; the clients keep its order.
    corpus : Corpus
        What the row numbers are of.

    Returns
    -------
    names : list of str
        Empty if they have none.
    rows : list of ndarray of int64
        Positions in the training split, ascending, at least one each.
    lost : int
        How many rows are left out: those of a test split that was drawn from the data.

    Raises
    ------
    ConfigError
        If they are no row numbers of that data set, or a client has none, or one twice.

    Examples
    --------
    >>> from fedkd.data import prepare
    >>> import numpy as np
    >>> x, y = np.zeros((6, 2), "float32"), np.arange(6) % 2
    >>> corpus = prepare((x, y, x, y))
    >>> shares({"north": [4, 0], "south": [1, 2, 3]}, corpus)
    (['north', 'south'], [array([0, 4]), array([1, 2, 3])], 0)
    """
    key, about = "data.split", shown(given)
    found = _read(given, key) if isinstance(given, str) else given
    if isinstance(found, Mapping):
        names, each = [str(name) for name in found], list(found.values())
    elif isinstance(found, list | tuple) or (isinstance(found, np.ndarray) and found.ndim):
        names, each = [], list(found)
    else:
        raise ConfigError(key, about, "must be a list of rows for each client, or {name: rows}")
    if not each:
        raise ConfigError(key, about, "has no clients")
    rows, lost = [], 0
    for client, one in enumerate(each):
        who = f"client {names[client] if names else client}"
        kept = _positions(_numbers(one, key, about, who), corpus, key, about, who)
        rows.append(kept)
        lost += len(one) - len(kept)
    return names, rows, lost


def picked(given: Any, corpus: Corpus) -> tuple[Rows, int]:
    """Return the rows that ``transfer.split`` gives, ascending, and how many are left out.

    Raises
    ------
    ConfigError
        If they are no row numbers of that data set, or one is there twice.
    """
    key, about = "transfer.split", shown(given)
    found = _read(given, key) if isinstance(given, str) else given
    if isinstance(found, Mapping):
        if len(found) != 1:
            raise ConfigError(key, about, f"must hold one array, and has {len(found)}")
        found = next(iter(found.values()))
    numbers = _numbers(found, key, about, "it")
    kept = _positions(numbers, corpus, key, about, "it")
    return kept, len(numbers) - len(kept)


def shown(given: Any) -> object:
    """Return what errors have of row numbers: the name of their file, or their type."""
    return given if isinstance(given, str) else type(given).__name__


def _read(name: str, key: str) -> Any:
    """Return what is in a file of row numbers: a mapping, a list or an array."""
    refuse_missing(name, key)
    path = Path(name).expanduser()
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text())
        return _arrays(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError, KeyError, RecursionError, BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(key, name, f"cannot be read ({reason})") from error


def refuse_missing(name: str, key: str) -> None:
    """Refuse a file of row numbers that is not there, or is of another kind."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(key, name, "there is no such file")
    if path.suffix not in (".json", ".npz", ".npy"):
        raise ConfigError(key, name, f"must be {_READABLE[key]}")


def _arrays(found: Any) -> Any:
    if isinstance(found, np.ndarray):
        return found
    arrays = {name: found[name] for name in found.files}
    if set(arrays) == {"rows", "offsets"}:
        rows, offsets = arrays["rows"], arrays["offsets"]
        ends = offsets.ndim == 1 and len(offsets) > 1 and (offsets[0], offsets[-1])
        if ends != (0, len(rows)) or offsets.dtype.kind not in "iu" or (np.diff(offsets) < 0).any():
            raise ValueError("offsets must ascend from 0 to the number of rows")
        return np.split(rows, offsets[1:-1])
    unnamed = all(name == f"arr_{position}" for position, name in enumerate(arrays))
    return list(arrays.values()) if unnamed and len(arrays) > 1 else arrays


def _numbers(given: Any, key: str, about: object, who: str) -> NDArray[Any]:
    """Return row numbers as an array of integers, ``[rows]``."""
    try:
        rows = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(key, about, f"{who}: must be a list of row numbers") from error
    if rows.ndim == 1 and not rows.size:
        raise ConfigError(key, about, f"{who} has no rows; leave it out, or give it some")
    if rows.dtype == bool:
        raise ConfigError(key, about, f"{who}: a mask; np.flatnonzero(mask) has its row numbers")
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        seen = f"{rows.dtype} {list(rows.shape)}"
        raise ConfigError(key, about, f"{who}: must be a list of row numbers, not {seen}")
    return rows


def _positions(rows: NDArray[Any], corpus: Corpus, key: str, about: object, who: str) -> Rows:
    """Return where rows of the data as given are in the training split; others are left out."""
    places = corpus.places
    size = len(corpus.y_train) + (0 if places is None else len(corpus.y_test))
    if rows.min() < 0 or rows.max() >= size:
        worst = rows.min() if rows.min() < 0 else rows.max()
        problem = f"{who}: there is no row {worst}; {corpus.name} has rows 0 to {size - 1}"
        raise ConfigError(key, about, problem)
    rows, counts = np.unique(rows.astype(np.int64), return_counts=True)
    if counts.max() > 1:
        twice = rows[counts.argmax()]
        raise ConfigError(key, about, f"{who}: row {twice} is there {counts.max()} times")
    if places is None:
        return rows
    found = np.searchsorted(places, rows).clip(max=len(places) - 1)
    return found[places[found] == rows]
