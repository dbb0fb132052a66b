"""Where data come from: embedded digits, a Parquet folder, the Hugging Face hub, user objects."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from .decode import Raw, arrays, decode, quiet

HUB = {
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
}
"""Catalogue name -> repository on the Hugging Face hub."""

CATALOGUE = ("digits", *HUB)
"""Every name that ``data=NAME`` knows."""

_TEST_SPLITS = ("test", "validation", "valid")
_ANY_NAME = "not a known data set and not a folder (a folder of Parquet files works too)"


@dataclass(frozen=True)
class Source:
    """A data set that was found but not read yet.

    `load` takes a scratch directory and returns the splits: ``train`` always, ``test`` maybe.
    """

    name: str
    fingerprint: str
    load: Callable[[Path], dict[str, Raw]]
    defaults: dict[str, int] = field(default_factory=dict)


def find(data: Any, key: str = "data") -> Source:
    """Locate `data` without reading it.

    Parameters
    ----------
    data : str, Path, tuple of arrays, datasets.Dataset or datasets.DatasetDict
        A catalogue name (looked up in ``$FEDKD_DATA_DIR/<name>`` first, then on the hub), a folder
        of Parquet files in hub layout, ``(x, y)``, ``(x, y, x_test, y_test)`` or a loaded data set.
    key : str
        The configuration key that errors name.

    Raises
    ------
    ConfigError
        If there is no such data set.

    Examples
    --------
    >>> find("digits").defaults["samples_per_client"]
    12
    >>> find("minst")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: data=minst: ...; did you mean 'mnist'? (allowed: cifar10, ...)
    """
    if isinstance(data, str | Path):
        return _find_named(str(data), key)
    if isinstance(data, list | tuple) and len(data) in (2, 4):
        return _from_arrays(tuple(data), key)
    if isinstance(data, Mapping) or hasattr(data, "features"):
        return _from_datasets(data, key)
    problem = "must be a name, a folder, (x, y), (x, y, x_test, y_test) or a datasets.Dataset"
    raise ConfigError(key, type(data).__name__, problem)


def _find_named(name: str, key: str) -> Source:
    if name == "digits":
        defaults = {"samples_per_client": 12, "transfer_size": 200}
        return Source("digits", "sklearn", _load_digits, defaults)
    local = _local(name)
    if local.is_dir() and (name in HUB or not Path(name).expanduser().is_dir()):
        return _from_folder(local, key)
    if name in HUB:
        return Source(name, "hub", lambda scratch: _load_hub(name, key))
    if Path(name).expanduser().is_dir():
        return _from_folder(Path(name).expanduser(), key)
    raise ConfigError(key, name, _ANY_NAME, CATALOGUE)


def _local(name: str) -> Path:
    """Return the folder under ``$FEDKD_DATA_DIR`` that would hold `name` (it may not exist)."""
    root = os.environ.get("FEDKD_DATA_DIR")
    return Path(root).expanduser() / name if root else Path("$FEDKD_DATA_DIR") / name


def _load_digits(scratch: Path) -> dict[str, Raw]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {"train": arrays(digits.images.astype(np.uint8), digits.target)}


def _unreadable() -> tuple[type[Exception], ...]:
    from datasets.exceptions import DatasetsError

    return OSError, ValueError, DatasetsError


def _load_hub(name: str, key: str) -> dict[str, Raw]:
    try:
        return _load_splits(HUB[name], key, name)
    except _unreadable() as error:
        problem = (
            f"cannot be read from the hub ({HUB[name]}: {_reason(error)}); "
            f"to work offline put its Parquet files into {_local(name)}"
        )
        raise ConfigError(key, name, problem) from error


def _from_folder(folder: Path, key: str) -> Source:
    files = sorted(p for p in folder.rglob("*.parquet") if p.is_file())
    if not files:
        raise ConfigError(key, folder, "this folder has no Parquet files")
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        digest.update(f"{file.relative_to(folder)}|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", folder.resolve().name) or "folder"

    def load(scratch: Path) -> dict[str, Raw]:
        try:
            # The Arrow copy that `datasets` makes is not needed once the images are decoded.
            return _load_splits(str(folder.resolve()), key, folder, cache_dir=str(scratch))
        except _unreadable() as error:
            raise ConfigError(key, folder, f"cannot be read ({_reason(error)})") from error

    return Source(name, digest.hexdigest()[:16], load)


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def _load_splits(path: str, key: str, shown: object, **kwargs: Any) -> dict[str, Raw]:
    from flwr_datasets import FederatedDataset

    with quiet():
        source = FederatedDataset(dataset=path, partitioners={}, shuffle=False, **kwargs)
        try:
            splits = {"train": source.load_split("train")}
        except ValueError as error:
            if "is not present" not in str(error):
                raise
            raise ConfigError(key, shown, f"has no train split: {error}") from error
        for name in _TEST_SPLITS:
            try:
                splits["test"] = source.load_split(name)
                break
            except ValueError:  # only raised for a split that is not there
                continue
        return {split: decode(part, key, shown) for split, part in splits.items()}


def _from_arrays(parts: tuple[Any, ...], key: str) -> Source:
    values = [np.ascontiguousarray(part) for part in parts]
    raws = {"train": arrays(values[0], values[1], key)}
    if len(values) == 4:
        raws["test"] = arrays(values[2], values[3], key)
    digest = hashlib.sha256()
    for value in values:
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.astype("S").tobytes() if value.dtype.kind in "OU" else value.data)
    return Source("arrays", digest.hexdigest()[:16], lambda scratch: raws)


def _from_datasets(data: Any, key: str) -> Source:
    splits = dict(data) if isinstance(data, Mapping) else {"train": data}
    if "train" not in splits:
        raise ConfigError(key, type(data).__name__, "has no train split", [str(k) for k in splits])
    chosen = {"train": splits["train"]}
    test = next((splits[name] for name in _TEST_SPLITS if name in splits), None)
    if test is not None:
        chosen["test"] = test
    prints = "|".join(f"{name}:{part._fingerprint}" for name, part in chosen.items())

    def load(scratch: Path) -> dict[str, Raw]:
        with quiet():
            return {name: decode(part, key, "Dataset") for name, part in chosen.items()}

    return Source("dataset", hashlib.sha256(prints.encode()).hexdigest()[:16], load)
