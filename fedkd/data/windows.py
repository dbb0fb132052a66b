"""Running text as windows: the samples of next-token prediction.

The texts of one owner (a book, an author: `data.client`, or the column that a partitioner deals by)
follow one another in the order of their rows, parted by a line feed, and are cut into windows of
`data.length` places. Where nobody owns them, each text is cut by itself. A window's targets are its
tokens moved by one, so that each token but an owner's first is predicted once; the last window of
an owner is padded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..config import RunConfig
from ..errors import ConfigError
from ..tasks.samples import PAD
from .text import FILE, Text, streams

ALL = ["all"]
"""The only group of windows: they have no classes to be skewed in."""

TRANSFER = 64
"""Windows of the transfer set at most, where `transfer.size` says nothing: each has many rows."""

_OPTIONS = {
    ("data", "label"): (None,),
    ("data", "features"): (None,),
    ("data", "standardise"): (None,),
    ("data", "split"): (None,),
    ("transfer", "split"): (None,),
    ("data", "alpha"): (None, 0.1),
}
_NUMBERS = "has numbers of rows, and samples are windows of text; "
_WHY = {
    "data.label": "next tokens are the labels; leave it out",
    "data.features": "the samples are windows of text; leave it out",
    "data.standardise": "the samples are windows of text; leave it out",
    "data.split": f"{_NUMBERS}use data.client=COLUMN",
    "transfer.split": f"{_NUMBERS}leave it out, or give their texts as transfer.data",
    "data.alpha": "skews classes, and next tokens are none; leave it out, or give data.client",
}
_SKEWED = ("dirichlet", "pathological", "shard")


def refuse_unfit(config: RunConfig, given: Mapping[str, Any] | None = None) -> None:
    """Refuse keys of the data that mean nothing where samples are windows of text.

    Parameters
    ----------
    config : RunConfig
    given : mapping, optional
        Python objects in place of values, by their keys.

    Raises
    ------
    ConfigError
        For the first.
    """
    for (group, key), idle in _OPTIONS.items():
        value = getattr(getattr(config, group), key)
        if f"{group}.{key}" in (given or {}) or value not in idle:
            shown = "..." if value is None else value
            problem = f"{_WHY[f'{group}.{key}']} (the task has next tokens)"
            raise ConfigError(f"{group}.{key}", shown, problem)
    node = config.data.partitioner
    target = str(node.get("_target_", "")).rpartition(".")[-1]
    name = target or str(node.get("name"))
    skews = any(word in name.lower() for word in _SKEWED) and ":" not in name
    if skews and "partition_by" not in node:
        problem = "skews classes, and next tokens are none; use iid, or data.client=COLUMN"
        raise ConfigError("data.partitioner", name, problem)


def owned(table: pa.Table, columns: Sequence[str], rows: int) -> NDArray[np.int64]:
    """Return whose each of a table's rows is, ``[rows]``; all differ where no column says.

    Examples
    --------
    >>> table = pa.table({"book": ["b", "a", "b"]})
    >>> owned(table, ["book"], 3).tolist(), owned(table, ["author"], 3).tolist()
    ([1, 0, 1], [0, 1, 2])
    """
    there = [name for name in columns if name in table.column_names]
    if not there:
        return np.arange(rows)
    codes = np.zeros(rows, np.int64)
    for name in there:
        text = np.array([str(value) for value in table.column(name).to_pylist()])
        own = np.unique(text, return_inverse=True)[1]
        codes = codes * (int(own.max(initial=0)) + 1) + own
    return np.unique(codes, return_inverse=True)[1]


def cut(
    texts: Sequence[NDArray[np.int64]], owners: NDArray[np.int64], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return windows ``[n, length]``, their targets ``[n, length]``, and each one's first row.

    Parameters
    ----------
    texts : sequence of ndarray of int64
        Token ids of each row, without padding.
    owners : ndarray of int64, shape [rows]
        Whose each row is.
    length : int
        Places of a window.

    Examples
    --------
    >>> x, y, first = cut([np.array([5, 6, 7]), np.array([8, 9])], np.array([0, 0]), 3)
    >>> x.tolist(), y.tolist(), first.tolist()
    ([[5, 6, 7], [8, 0, 0]], [[6, 7, 8], [9, 0, 0]], [0, 1])
    """
    found: list[tuple[NDArray[np.int64], ...]] = []
    order = np.argsort(owners, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
        ids = np.concatenate([texts[row] for row in rows])
        count = -(-(len(ids) - 1) // length)
        if count < 1:
            continue
        whole = np.full(count * length + 1, PAD, np.int64)
        whole[: len(ids)] = ids
        y = whole[1:].reshape(count, length)
        x = np.where(y == PAD, PAD, whole[:-1].reshape(count, length))
        ends = np.cumsum([len(texts[row]) for row in rows])
        first = rows[np.searchsorted(ends, np.arange(count) * length, side="right")]
        found.append((x, y, first))
    if not found:
        none = np.zeros((0, length), np.int64)
        return none, none, np.zeros(0, np.int64)
    x, y, first = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return x, y, first


def windowed(
    path: Path, splits: Mapping[str, Any], text: Text, owners: Sequence[str], key: str, shown: str
) -> tuple[str, int]:
    """Put windows in the place of texts, and write the tokenizer; return note and vocabulary.

    Parameters
    ----------
    path : Path
        Where to write it.
    splits : mapping of str to Raw
        Changed in place: ``x`` and ``y`` become windows and targets, ``table`` has each one's owner
        (where there is none, all columns of its text).
    text : Text
    owners : sequence of str
        Columns that say whose a text is.
    key, shown : str
        What errors name.

    Raises
    ------
    ConfigError
        If a split has no window.
    """
    ids, tokenizer, learnt = streams({name: raw.x for name, raw in splits.items()}, text)
    size, counts, padded = tokenizer.get_vocab_size(), [], 0
    for name, raw in splits.items():
        own = owned(raw.table, owners, len(raw.x))
        x, y, first = cut(ids[name], own, text.length)
        if not len(x):
            raise ConfigError(key, shown, f"has no two tokens of running text in its {name} split")
        kept = [column for column in owners if column in raw.table.column_names]
        table = raw.table.select(kept) if kept else raw.table
        raw.table = table.take(first)
        kind = np.uint16 if size <= 2**16 else np.int32
        raw.x, raw.y, raw.class_names = x.astype(kind), y.astype(kind), list(ALL)
        counts.append(f"{len(x)} in {name}")
        padded += int((y[:, -1] == PAD).sum())
    tokenizer.save(str(path / FILE))
    whose = f"the running text of each {' and '.join(kept)}" if kept else "each text by itself"
    told = f"windows of {text.length} tokens of {whose}: {', '.join(counts)}, {padded} padded"
    return f"{learnt}; {told}", size
