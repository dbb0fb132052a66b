"""Data in files: one, a folder of them, or the Hugging Face hub's."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .catalogue import HUB
from .columns import Choice
from .decode import TEST_SPLITS, Source, quiet, table_source
from .fingerprint import of_files
from .loading import PICTURES, SEPARATORS, ending, readable, reason, splits_of, table_of

FILES = "Parquet files, CSV files (.csv, .tsv, also .gz) or pictures by class"
"""What a folder may hold."""

_ABOUT = ("README.md", "dataset_infos.json", ".huggingface.yaml")
"""Files beside the data that say how they are read."""

_LISTS = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Files beside pictures that say more of each."""


def local_folder(name: str) -> Path:
    """Return the folder under ``$FEDKD_DATA_DIR`` that would hold `name` (it may not exist)."""
    root = os.environ.get("FEDKD_DATA_DIR")
    return Path(root).expanduser() / name if root else Path("$FEDKD_DATA_DIR") / name


def from_hub(name: str, key: str, choice: Choice) -> Source:
    """Return a data set of the hub; errors say where to put its files to do without."""

    def tables(scratch: Path) -> dict[str, Any]:
        try:
            return _load_hub(HUB[name], key, name)
        except ConfigError as error:
            problem = (
                f"the hub's {HUB[name]} {error.problem}; "
                f"to work offline put its Parquet files into {local_folder(name)}"
            )
            raise ConfigError(key, name, problem) from error

    return table_source(name, "hub", tables, key, name, choice)


def from_file(file: Path, key: str, choice: Choice) -> Source:
    """Return a Parquet or CSV file, known by its content.

    Raises
    ------
    ConfigError
        If it is neither, or cannot be read.
    """
    end = ending(file)
    if end not in SEPARATORS or (end == ".parquet" and file.suffix.lower() == ".gz"):
        problem = "is neither a Parquet file nor a CSV file (.csv, .tsv, also .csv.gz and .tsv.gz)"
        raise ConfigError(key, file, problem)

    def tables(scratch: Path) -> dict[str, Any]:
        return {"train": table_of(file, SEPARATORS[end], key)}

    stem = file.name[: -len(end) - 3] if file.suffix.lower() == ".gz" else file.stem
    return _source(stem, file, [file], tables, key, choice)


def from_folder(folder: Path, key: str, choice: Choice) -> Source:
    """Return a folder of Parquet or CSV files, or of pictures, known by its content.

    Raises
    ------
    ConfigError
        If it has none, or they cannot be read.
    """
    files = _files(folder, key)
    if not files:
        raise ConfigError(key, folder, f"this folder has no {FILES}")
    files += [folder / name for name in _ABOUT if (folder / name).is_file()]

    def tables(scratch: Path) -> dict[str, Any]:
        return splits_of(folder, files, key, scratch)

    return _source(folder.resolve().name, folder, files, tables, key, choice)


def _files(folder: Path, key: str) -> list[Path]:
    """Return the data files in a folder: Parquet, else all that may belong together."""
    inside = sorted(folder.rglob("*"))
    every = [file for file in inside if file.is_file()]
    links = [path for path in inside if path.is_symlink() and path.is_dir()]
    if links:
        problem = f"{links[0].relative_to(folder)} is a link to a folder, which is not followed"
        raise ConfigError(key, folder, f"{problem}; put the files into it")
    parquet = [file for file in every if file.suffix == ".parquet"]
    ends = (*SEPARATORS, *PICTURES)
    others = [file for file in every if ending(file) in ends or file.name in _LISTS]
    return parquet if len(parquet) == len(others) else others


def _source(
    name: str,
    path: Path,
    files: Sequence[Path],
    tables: Callable[[Path], dict[str, Any]],
    key: str,
    choice: Choice,
) -> Source:
    root = path if path.is_dir() else path.parent

    def fingerprint() -> str:
        try:
            return of_files(root, files)
        except OSError as error:
            raise ConfigError(key, path, f"cannot be read ({reason(error)})") from error

    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[-80:] or "folder"
    # Rows of a folder of pictures name its files; what rows of a Parquet file name is not opened.
    own = {ending(file) for file in files if file.name not in _LISTS}
    outside = not own.isdisjoint(PICTURES) and ".parquet" not in own
    about = key, path, choice, outside, fingerprint
    return table_source(name, fingerprint(), tables, *about)


def _load_hub(path: str, key: str, shown: object) -> dict[str, Any]:
    """Return the splits of a data set on the hub."""
    from .flower import FederatedDataset

    with quiet(), readable(key, shown):
        source = FederatedDataset(dataset=path, partitioners={}, shuffle=False)
        splits = {"train": source.load_split("train")}
        for name in TEST_SPLITS:
            try:
                splits["test"] = source.load_split(name)
                break
            except ValueError:  # only raised for a split that is not there
                continue
        return splits
