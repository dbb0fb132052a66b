"""Data in Parquet files: of a folder, or of the Hugging Face hub."""

import os
import re
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .columns import Choice
from .decode import TEST_SPLITS, Raw, Source, decoded, quiet
from .fingerprint import of_files

HUB = {
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
}
"""Catalogue name -> repository on the Hugging Face hub."""

_ABOUT = ("README.md", "dataset_infos.json", ".huggingface.yaml")
"""Files beside the data that say how they are read."""


def local_folder(name: str) -> Path:
    """Return the folder under ``$FEDKD_DATA_DIR`` that would hold `name` (it may not exist)."""
    root = os.environ.get("FEDKD_DATA_DIR")
    return Path(root).expanduser() / name if root else Path("$FEDKD_DATA_DIR") / name


def load_hub(name: str, key: str, choice: Choice) -> dict[str, Raw]:
    """Return a decoded data set of the hub; errors say where to put its files to do without."""
    try:
        splits = _load_splits(HUB[name], key, name)
    except ConfigError as error:
        problem = (
            f"the hub's {HUB[name]} {error.problem}; "
            f"to work offline put its Parquet files into {local_folder(name)}"
        )
        raise ConfigError(key, name, problem) from error
    return decoded(splits, key, name, choice)


def from_folder(folder: Path, key: str, choice: Choice) -> Source:
    """Return a folder of Parquet files, known by their content.

    Raises
    ------
    ConfigError
        If it has none, or they cannot be read.
    """
    files = sorted(p for p in folder.rglob("*.parquet") if p.is_file())
    if not files:
        raise ConfigError(key, folder, "this folder has no Parquet files")
    files += [folder / name for name in _ABOUT if (folder / name).is_file()]
    try:
        fingerprint = of_files(folder, files)
    except OSError as error:
        raise ConfigError(key, folder, f"cannot be read ({_reason(error)})") from error
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", folder.resolve().name)[-80:] or "folder"

    def load(scratch: Path) -> dict[str, Raw]:
        # The Arrow copy that `datasets` makes is not needed once the images are decoded.
        splits = _load_splits(str(folder.resolve()), key, folder, cache_dir=str(scratch))
        found = decoded(splits, key, folder, choice)
        if of_files(folder, files) != fingerprint:
            raise ConfigError(key, folder, "changes while it is read; run again when it is ready")
        return found

    return Source(name, fingerprint, load)


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def _load_splits(path: str, key: str, shown: object, **kwargs: Any) -> dict[str, Any]:
    """Return the splits of a folder or of a data set on the hub.

    Raises
    ------
    ConfigError
        If it cannot be read: what `datasets` meets in other people's files may raise anything.
    """
    from .flower import FederatedDataset

    with quiet():
        try:
            source = FederatedDataset(dataset=path, partitioners={}, shuffle=False, **kwargs)
            splits = {"train": source.load_split("train")}
        except Exception as error:
            if "is not present" in str(error):
                raise ConfigError(key, shown, f"has no train split: {error}") from error
            raise ConfigError(key, shown, f"cannot be read ({_reason(error)})") from error
        for name in TEST_SPLITS:
            try:
                splits["test"] = source.load_split(name)
                break
            except ValueError:  # only raised for a split that is not there
                continue
        return splits
