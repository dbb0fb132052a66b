"""What is written of a data set that has been read: arrays, columns, and what is told of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .cache import seal
from .columns import Choice
from .corpus import PLACES
from .decode import Raw, Source
from .encoding import encode
from .targets import bin_names, described, told
from .text import FILE, Text, encoded
from .train_test import check_alike, divided, match_classes
from .windows import TRANSFER, windowed


def write(
    path: Path,
    source: Source,
    splits: dict[str, Raw],
    key: str,
    shown: object,
    choice: Choice,
) -> None:
    """Write a data set's splits, for `Corpus.open`, as `choice` has their columns.

    Parameters
    ----------
    path : Path
        An empty folder.
    source, splits
        The data set, and what has been read of it; without ``test`` one is drawn.
    key, shown
        The configuration key that errors name, and its value.
    choice : Choice
        What is known of the columns.

    Raises
    ------
    ConfigError
        If they cannot be used.
    """
    owners = list(filter(None, [*choice.apart, source.client]))
    windows = choice.targets == "tokens"
    if "test" not in splits:
        splits, rest = divided(splits["train"], source.client, owners if windows else [])
        if not windows:
            pq.write_table(pa.table({"row": rest}), path / PLACES)
    train, test = splits["train"], splits["test"]
    given = len(train), len(test)
    encoding = encode(splits, choice, key, shown)
    match_classes(train, test)
    check_alike(train, test, str(shown), key)
    tokens, size = (
        windowed(path, splits, choice.text, owners, key, str(shown))
        if windows
        else _tokenised(path, splits, choice.text)
    )
    names, targets = _labels(train, test)
    numeric = train.numeric or windows
    for split, raw in splits.items():
        np.save(path / f"x_{split}.npy", np.ascontiguousarray(raw.x))
        np.save(path / f"y_{split}.npy", raw.y if numeric else raw.y.astype(np.int64))
        pq.write_table(raw.table, path / f"columns_{split}.parquet")
    images = train.x.dtype == np.uint8
    mean, std = _moments(train.x) if images else (None, None)
    usual = TRANSFER if windows else 1000
    meta: dict[str, Any] = {
        "name": source.name,
        "class_names": names,
        "shape": _shape(train.x) if images else train.x.shape[1:],
        "defaults": {"transfer_size": max(1, min(usual, len(train.y) // 4))} | source.defaults,
        "mean": mean,
        "std": std,
        "features": None if encoding is None else [*encoding],
        "encoding": encoding,
        "note": None,
        "labelled": train.labelled,
        "as_asked": _as_asked(train, choice),
        "client": source.client,
        "targets": targets,
        "vocabulary": size,
        "windows": windows,
    }
    notes = [tokens, None if targets is None else told(targets)]
    if train.columns is not None and not train.columns.plain:
        rows = f"{given[0]} training and {given[1]} test rows"
        what = _task_told(train.y, [] if targets else names) if train.labelled else "no labels"
        what = "next tokens" if windows else what
        notes = [f"{what}, {rows}", train.columns.told(), *notes]
    meta["note"] = "; ".join(filter(None, notes)) or None
    seal(path, meta)


def _labels(train: Raw, test: Raw) -> tuple[list[str], dict[str, Any] | None]:
    """Return the classes' names, or those of bins of targets, and the targets; number classes."""
    if train.numeric:
        columns = train.labels or [f"target {place}" for place in range(train.y[0].size)]
        targets = described(train.y, columns if train.y[0].size > 1 or train.labels else ["target"])
        return bin_names(targets["edges"]), targets
    if train.class_names is not None:
        return train.class_names, None
    known = np.unique(np.concatenate([train.y, test.y]))
    train.y, test.y = np.searchsorted(known, train.y), np.searchsorted(known, test.y)
    return [str(value) for value in known], None


def _task_told(y: NDArray[Any], names: list[str]) -> str:
    """Return the task and what there is to tell: classes, or a range of numbers.

    Parameters
    ----------
    y : ndarray, shape [n] or [n, targets]
    names : list of str
        The classes; none = numbers.

    Examples
    --------
    >>> _task_told(np.array([0, 1]), ["no", "yes"]), _task_told(np.array([2.5, 1e6]), [])
    ('classification, 2 classes (no, yes)', 'regression, 2.5 to 1e+06')
    """
    if not names:
        return f"regression, {y.min():g} to {y.max():g}"
    shown = ", ".join(names[:5]) + ", ..." * (len(names) > 5)
    return f"classification, {len(names)} classes ({shown})"


def _as_asked(train: Raw, choice: Choice) -> bool:
    """Say whether a split has its label, and the columns that `choice` names are what it names."""
    label, text, columns = choice.label, choice.text.column, train.columns
    names = label if isinstance(label, tuple) else (label,)
    if not train.labelled or (label is not None and train.labels and names != train.labels):
        return False
    return text is None or columns is None or columns.features == (text,)


def _tokenised(path: Path, splits: dict[str, Raw], text: Text) -> tuple[str | None, int | None]:
    """Put token ids in the place of texts, and write the tokenizer; return note and vocabulary."""
    if splits["train"].x.dtype != object:
        return None, None
    ids, tokenizer, told = encoded({name: raw.x for name, raw in splits.items()}, text)
    for name, raw in splits.items():
        raw.x = ids[name]
    tokenizer.save(str(path / FILE))
    return told, tokenizer.get_vocab_size()


def _shape(images: NDArray[np.uint8]) -> tuple[int, ...]:
    return (images.shape[3] if images.ndim == 4 else 1, *images.shape[1:3])


def _moments(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return mean and std per channel, exactly, from the histogram of the 256 pixel values."""
    channels = images.reshape(-1, images.shape[3]).T if images.ndim == 4 else images.reshape(1, -1)
    levels = np.arange(256) / 255
    mean, std = [], []
    for channel in channels:
        share = np.bincount(channel, minlength=256) / channel.size
        mean.append(float(share @ levels))
        std.append(float(np.sqrt(share @ (levels - mean[-1]) ** 2)) or 1.0)
    return mean, std
