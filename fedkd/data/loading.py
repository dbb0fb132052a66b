"""What the loaders of `datasets` make of files and folders on this machine."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..errors import ConfigError
from .decode import TEST_SPLITS, quiet
from .separated import check, read

SEPARATORS = {".parquet": None, ".csv": ",", ".tsv": "\t"}
"""Endings of tables, which ``.gz`` may follow but of Parquet, and what is between two values."""

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""Endings of pictures."""

_ENDS = {"parquet": (), "csv": (".csv", ".tsv"), "imagefolder": PICTURES}
"""Kinds of folders that are read, and what in them must all belong to a split."""

_SHOWN = 3
"""Files that a line names; the others are counted."""

Held = Mapping[str, Sequence[Path]]
"""The files of each split."""


def table_of(file: Path, separator: str | None, key: str) -> Any:
    """Return the rows of a Parquet file, or of a CSV file if it has a separator.

    Raises
    ------
    ConfigError
        If it cannot be read; of a CSV file, which row is wrong.
    """
    import datasets
    from datasets.packaged_modules.csv.csv import CsvConfig

    with quiet(), readable(key, file):
        if separator is None:
            return datasets.Dataset(pq.ParquetFile(file).read())
        return _separated([file], CsvConfig(sep=separator), key, file)


def splits_of(folder: Path, files: Sequence[Path], key: str, scratch: Path) -> dict[str, Any]:
    """Return the splits of a folder as on the Hugging Face hub: ``train``, and ``test`` maybe.

    Parameters
    ----------
    folder : Path
    files : sequence of Path
        All files that its content is known by; no others are read.
    key : str
        What errors name.
    scratch : Path
        Where Arrow copies may lie for a while.

    Raises
    ------
    ConfigError
        If it cannot be read: what `datasets` meets in other people's files may raise anything.
    """
    import datasets

    with quiet(), readable(key, folder):
        path = str(folder.resolve())
        builder = datasets.load_dataset_builder(path, cache_dir=str(scratch))
        found = builder.config.data_files or {}
        held = {str(name): [Path(one) for one in parts] for name, parts in found.items()}
        test = next((name for name in TEST_SPLITS if name in held), None)
        _check_held(held, folder, files, builder.name, key)
        names = {"train": "train"} | ({} if test is None else {"test": test})
        if builder.name == "csv":
            about = builder.config, key, folder
            return {split: _separated(held[name], *about) for split, name in names.items()}
        if builder.name == "imagefolder":
            builder.config.drop_labels = not _by_class(held, folder, key)
        builder.download_and_prepare()
        return {split: builder.as_dataset(name) for split, name in names.items()}


def _check_held(held: Held, folder: Path, files: Sequence[Path], kind: str, key: str) -> None:
    """Refuse what would be read unseen, or would not be read."""
    if kind not in _ENDS:
        problem = f"holds data for {kind}; give Parquet files, CSV files or pictures"
        raise ConfigError(key, folder, problem)
    if "train" not in held:
        problem = f"has no train split, only {', '.join(held)}; name a file or a folder train"
        raise ConfigError(key, folder, problem)
    known = {file.resolve() for file in files}
    read_ = {file.resolve() for parts in held.values() for file in parts}
    if unseen := sorted(read_ - known):
        problem = f"leads to {_listed(unseen, folder)}; put such files into it, and unpack archives"
        raise ConfigError(key, folder, problem)
    rest = [
        file
        for file in files
        if ending(file) in _ENDS[kind] and file.resolve() not in read_ and not _hidden(file, folder)
    ]
    if rest:
        problem = (
            f"what is called {' or '.join(held)} is a split, and {_listed(rest, folder)} in none; "
            "move it elsewhere, or rename what is no split"
        )
        raise ConfigError(key, folder, problem)


def ending(file: Path) -> str:
    """Return a file's ending in small letters, without that of its compression.

    Examples
    --------
    >>> ending(Path("iris.CSV.gz")), ending(Path("iris"))
    ('.csv', '')
    """
    ends = [end.lower() for end in file.suffixes]
    return ends[-2] if len(ends) > 1 and ends[-1] == ".gz" else ends[-1] if ends else ""


def _hidden(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    return any(part.startswith((".", "__")) for part in parts)


def _by_class(held: Held, folder: Path, key: str) -> bool:
    """Say whether pictures lie in a folder for each class; those of one split may lie in one."""
    pictures = {n: [f for f in parts if ending(f) in PICTURES] for n, parts in held.items()}
    if all(len({file.parent for file in parts}) <= 1 for parts in pictures.values()):
        return False
    depths = {len(file.parts): file for parts in pictures.values() for file in parts}
    if len(depths) > 1:
        problem = (
            f"pictures lie at different depths ({_listed(list(depths.values()), folder)}); have a "
            "folder for each class, inside of train and test where there are both"
        )
        raise ConfigError(key, folder, problem)
    return True


def _separated(files: Sequence[Path], config: Any, key: str, shown: Path) -> Any:
    """Return the rows of CSV files; those are counted unless a README says how they are read."""
    from datasets.packaged_modules.csv.csv import CsvConfig

    options = config.pd_read_csv_kwargs
    if options == CsvConfig(sep=config.sep).pd_read_csv_kwargs and len(config.sep) == 1:
        for file in files:
            check(file, config.sep, key, shown)
    return read(files, options, key, shown)


@contextmanager
def readable(key: str, shown: object) -> Iterator[None]:
    """Have whatever goes wrong in the block end in one line."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(key, shown, f"cannot be read ({reason(error)})") from error


def reason(error: BaseException) -> str:
    """Return the first line of what caused an error."""
    cause = error.__cause__ or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def _listed(files: Sequence[Path], folder: Path) -> str:
    def short(file: Path) -> str:
        return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)

    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ", ".join(map(short, files[:_SHOWN])) + more
