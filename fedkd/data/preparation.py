"""Decode a data set once into a directory that `Corpus.open` maps, safely under races."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..config import RunConfig
from ..errors import ConfigError
from .cache import cache_root, intact, publish, scratch_folder, seal
from .columns import Choice
from .corpus import Corpus
from .decode import Raw, Source
from .fingerprint import of_json
from .sampling import proportional
from .sources import find
from .text import FILE, Text, encoded

_LAYOUT = 2  # raise when the files below change
_TEST_SHARE, _TEST_SEED = 0.2, 0  # of a data set without a test split


def corpora(config: RunConfig, data: Any = None) -> tuple[Corpus, Corpus | None]:
    """Open the clients' data set and the transfer set's, whose columns are found by name.

    Parameters
    ----------
    config : RunConfig
        `data` and `transfer` are read.
    data : optional
        A Python object in place of ``data.name``.

    Returns
    -------
    corpus : Corpus
    other : Corpus or None
        What ``transfer.data`` names; None if transfer samples come from the clients' data.

    Raises
    ------
    ConfigError
        If one is not found or cannot be used, or the transfer set lacks columns.
    """
    by = config.data.partitioner.get("partition_by")
    apart = tuple(by) if isinstance(by, list) else () if by is None else (str(by),)
    text = Text(config.data.text, config.data.vocabulary, config.data.length)
    choice = Choice(config.data.label, apart=tuple(map(str, apart)), text=text)
    data = config.data.name if data is None else data
    corpus = prepare(data, choice=choice)
    if corpus.vocabulary is None:
        _refuse_unused(text, corpus.name)
    if not config.transfer.data:
        return corpus, None
    whole = choice
    choice = replace(choice, strict=False)
    other = prepare(config.transfer.data, key="transfer.data", choice=choice)
    if corpus.features and other.features and other.features != corpus.features:
        choice = replace(choice, features=tuple(corpus.features))
        other = prepare(config.transfer.data, key="transfer.data", choice=choice)
    if corpus.tokenizer and other.tokenizer and corpus.path != other.path:
        text = replace(text, tokenizer=other.tokenizer)  # of public texts, and one for both
        corpus = prepare(data, choice=replace(whole, text=text))
    return corpus, other


def _refuse_unused(text: Text, name: str) -> None:
    """Refuse settings of texts where the samples are none."""
    for key in ("vocabulary", "length"):
        value = getattr(text, key)
        if value != getattr(Text(), key):
            raise ConfigError(f"data.{key}", value, f"the samples of {name} are no texts")


def prepare(
    data: Any, cache: Path | str | None = None, key: str = "data", choice: Choice | None = None
) -> Corpus:
    """Decode a data set unless that was done before, and open it.

    Parameters
    ----------
    data : str, Path, tuple of arrays, datasets.Dataset or datasets.DatasetDict
        See `fedkd.data.sources.find`. A data set without a test split gets a stratified one, the
        same whatever the run's seed.
    cache : path, optional
        Where decoded data sets are kept; default ``$FEDKD_CACHE_DIR``, else
        ``$XDG_CACHE_HOME/fedkd``, else ``~/.cache/fedkd``. One that is damaged is made anew.
    key : str
        The configuration key that errors name.
    choice : Choice, optional
        What is known of its columns.

    Raises
    ------
    ConfigError
        If the data set is not found or cannot be used.

    Examples
    --------
    >>> corpus = prepare("digits")
    >>> corpus.shape, corpus.classes, len(corpus.y_test)
    ((1, 8, 8), 10, 359)
    """
    choice = choice or Choice()
    source = find(data, key, choice)
    for name, column in {"label": choice.label, "text": choice.text.column}.items():
        if column is not None and choice.strict and not source.named:
            problem = f"{source.name} has no columns; leave it out"
            raise ConfigError(f"data.{name}", column, problem)
    root = cache_root(cache)
    about = [source.fingerprint, *(choice.known() if source.named else ())]
    about += [vars(choice.text)] if choice.text != Text() else []
    target = root / f"{source.name}-{of_json(about)[:16]}-{_LAYOUT}"
    if not intact(target):
        with scratch_folder(root) as scratch:
            staged = scratch / "corpus"
            staged.mkdir()
            _write(staged, source, source.load(scratch), key, choice.text)
            publish(staged, target)
    return Corpus.open(target)


def _write(path: Path, source: Source, splits: dict[str, Raw], key: str, text: Text) -> None:
    if "test" not in splits:
        splits = _split(splits["train"])
    train, test = splits["train"], splits["test"]
    _check_alike(train, test, source.name, key)
    told, size = _tokenised(path, splits, text)
    names = train.class_names
    if names is None:
        known = np.unique(np.concatenate([train.y, test.y]))
        names = [str(value) for value in known]
        train.y, test.y = np.searchsorted(known, train.y), np.searchsorted(known, test.y)
    for split, raw in splits.items():
        np.save(path / f"x_{split}.npy", np.ascontiguousarray(raw.x))
        np.save(path / f"y_{split}.npy", raw.y.astype(np.int64))
        pq.write_table(raw.table, path / f"columns_{split}.parquet")
    images = train.x.dtype == np.uint8
    mean, std = _moments(train.x) if images else (None, None)
    meta = {
        "name": source.name,
        "class_names": names,
        "shape": _shape(train.x) if images else train.x.shape[1:],
        "defaults": {"transfer_size": max(1, min(1000, len(train.y) // 4))} | source.defaults,
        "mean": mean,
        "std": std,
        "features": None,
        "note": told,
        "vocabulary": size,
    }
    if train.columns is not None:
        meta["features"] = train.columns.features if train.columns.kind == "features" else None
        notes = [None if train.columns.plain else train.columns.told(), told]
        meta["note"] = "; ".join(filter(None, notes)) or None
    seal(path, meta)


def _tokenised(path: Path, splits: dict[str, Raw], text: Text) -> tuple[str | None, int | None]:
    """Put token ids in the place of texts, and write the tokenizer; return note and vocabulary."""
    if splits["train"].x.dtype != object:
        return None, None
    ids, tokenizer, told = encoded({name: raw.x for name, raw in splits.items()}, text)
    for name, raw in splits.items():
        raw.x = ids[name]
    tokenizer.save(str(path / FILE))
    return told, tokenizer.get_vocab_size()


def _check_alike(train: Raw, test: Raw, name: str, key: str) -> None:
    if train.x.shape[1:] != test.x.shape[1:] or train.x.dtype != test.x.dtype:
        seen = [f"{raw.x.dtype} {raw.x.shape[1:]}" for raw in (train, test)]
        problem = f"train {seen[0]} and test {seen[1]} samples differ in shape or type"
        raise ConfigError(key, name, problem)
    if train.class_names != test.class_names:
        raise ConfigError(key, name, "the train and test splits differ in their class names")
    if _is_text(train.y) != _is_text(test.y):
        raise ConfigError(key, name, "labels are numbers in one split and text in the other")


def _is_text(y: NDArray[Any]) -> bool:
    return y.dtype.kind not in "iu"


def _split(whole: Raw) -> dict[str, Raw]:
    _, codes = np.unique(whole.y, return_inverse=True)
    test = proportional(codes, round(len(codes) * _TEST_SHARE), _TEST_SEED)
    rest = np.setdiff1d(np.arange(len(codes)), test)
    return {"train": whole.take(rest), "test": whole.take(test)}


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
