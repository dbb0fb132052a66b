"""Decode a data set once into a directory that `Corpus.open` maps, safely under races."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import ConfigError
from .corpus import Corpus
from .decode import Raw
from .sampling import proportional
from .sources import Source, find

_LAYOUT = 1  # raise when the files below change
_TEST_SHARE, _TEST_SEED = 0.2, 0  # of a data set without a test split


def prepare(data: Any, cache: Path | str | None = None, key: str = "data") -> Corpus:
    """Decode a data set unless that was done before, and open it.

    Parameters
    ----------
    data : str, Path, tuple of arrays, datasets.Dataset or datasets.DatasetDict
        See `fedkd.data.sources.find`. A data set without a test split gets a stratified one, the
        same whatever the run's seed.
    cache : path, optional
        Where decoded data sets are kept; default ``$FEDKD_CACHE_DIR``, else
        ``$XDG_CACHE_HOME/fedkd``, else ``~/.cache/fedkd``.
    key : str
        The configuration key that errors name.

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
    source = find(data, key)
    root = cache_root(cache)
    target = root / f"{source.name}-{source.fingerprint}-{_LAYOUT}"
    if not (target / "meta.json").exists():
        try:
            root.mkdir(parents=True, exist_ok=True)
            scratch = tempfile.TemporaryDirectory(dir=root, prefix=".decoding-")
        except OSError as error:
            problem = f"cannot be written ({error.strerror}); set it to a folder of yours"
            raise ConfigError("FEDKD_CACHE_DIR", root, problem) from error
        with scratch:
            staged = Path(scratch.name) / "corpus"
            staged.mkdir()
            _write(staged, source, source.load(Path(scratch.name)), key)
            _publish(staged, target)
    return Corpus.open(target)


def cache_root(cache: Path | str | None = None) -> Path:
    """Return the directory that holds decoded data sets."""
    if cache is None:
        cache = os.environ.get("FEDKD_CACHE_DIR")
    if cache is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "fedkd"
    return Path(cache).expanduser().resolve()  # workers may run in another directory


def _publish(staged: Path, target: Path) -> None:
    try:
        staged.rename(target)
    except OSError:
        if not (target / "meta.json").exists():  # else another process was faster: same content
            raise


def _write(path: Path, source: Source, splits: dict[str, Raw], key: str) -> None:
    if "test" not in splits:
        splits = _split(splits["train"])
    train, test = splits["train"], splits["test"]
    _check_alike(train, test, source.name, key)
    names = train.class_names
    if names is None:
        known = np.unique(np.concatenate([train.y, test.y]))
        names = [str(value) for value in known]
        train.y, test.y = np.searchsorted(known, train.y), np.searchsorted(known, test.y)
    for split, raw in splits.items():
        np.save(path / f"x_{split}.npy", np.ascontiguousarray(raw.x))
        np.save(path / f"y_{split}.npy", raw.y.astype(np.int64))
        pq.write_table(raw.columns, path / f"columns_{split}.parquet")
    images = train.x.dtype == np.uint8
    mean, std = _moments(train.x) if images else (None, None)
    meta = {
        "name": source.name,
        "class_names": names,
        "shape": _shape(train.x) if images else train.x.shape[1:],
        "defaults": {"transfer_size": max(1, min(1000, len(train.y) // 4))} | source.defaults,
        "mean": mean,
        "std": std,
    }
    (path / "meta.json").write_text(json.dumps(meta, indent=1))


def _check_alike(train: Raw, test: Raw, name: str, key: str) -> None:
    if train.x.shape[1:] != test.x.shape[1:] or train.x.dtype != test.x.dtype:
        problem = f"train {train.x.shape[1:]} and test {test.x.shape[1:]} samples differ in shape"
        raise ConfigError(key, name, problem)
    if train.class_names != test.class_names:
        raise ConfigError(key, name, "the train and test splits differ in their class names")


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
