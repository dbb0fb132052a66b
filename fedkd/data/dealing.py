"""Deals of samples, kept on disk: importing what deals them takes seconds and 200 MB."""

import hashlib
import json
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..atomic import replacing
from ..config import RunConfig
from ..plugins.loading import is_code
from .corpus import Corpus

Parts = list[NDArray[np.int64]]


def dealable(corpus: Corpus, rows: NDArray[np.int64]) -> pa.Table:
    """Return what partitioners see of training samples: ``index``, ``label``, other columns.

    The label is the class, or the bin of the target, which is a column of its own then.
    """
    table = corpus.columns("train")
    columns = {name: table.column(name).take(rows) for name in table.column_names}
    columns |= {"index": pa.array(rows), "label": pa.array(corpus.groups_train[rows])}
    if corpus.targets.numeric and corpus.targets.names[0] not in columns:
        first = corpus.y_train.reshape(len(corpus.y_train), -1)[rows, 0]
        columns[corpus.targets.names[0]] = pa.array(first)
    return pa.table(columns)


def dealt(
    config: RunConfig, pool: pa.Table, each: int | None, folder: Path, own: Any = None
) -> Parts:
    """Return what `fedkd.data.partition.partition` deals, from disk if it was dealt before.

    Parameters
    ----------
    config, pool, each
        See there.
    folder : Path
        Where deals are kept, a file for each; it may be deleted at any time. Partitioners that are
        not flwr-datasets' own are asked every time.
    own : Partitioner, optional
        See there.

    Raises
    ------
    ConfigError
        See there.

    Examples
    --------
    >>> pool = pa.table({"index": range(60), "label": [0, 1, 2] * 20})
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     first, again = (dealt(RunConfig(clients=2), pool, 9, Path(folder)) for _ in range(2))
    >>> [np.array_equal(*pair) for pair in zip(first, again)]
    [True, True]
    """
    node = config.data.partitioner
    target = str(node.get("_target_", "flwr_datasets"))
    if own or is_code(node.get("name", "")) or not target.startswith("flwr_datasets"):
        return _partition(config, pool, each, own)
    file = folder / f"{_key(config, pool, each)}.npz"
    parts = _read(file)
    if parts is None:
        parts = _partition(config, pool, each)
        _write(file, parts)
    return parts


def _partition(config: RunConfig, pool: pa.Table, each: int | None, own: Any = None) -> Parts:
    from .partition import partition  # imports flwr-datasets, which takes seconds

    return partition(config, pool, each, own)


def _key(config: RunConfig, pool: pa.Table, each: int | None) -> str:
    packages = [version(name) for name in ("flwr-datasets", "datasets", "numpy")]
    about = [config.to_dict()["data"], config.population, config.seed, each, packages]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pool.schema) as stream:
        stream.write_table(pool.combine_chunks())
    digest.update(sink.getvalue())
    return digest.hexdigest()


def _read(file: Path) -> Parts | None:
    with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile), np.load(file) as kept:
        rows, sizes = kept["rows"], kept["sizes"]
        if len(rows) == sizes.sum() and len(sizes):
            return np.split(rows, sizes.cumsum()[:-1])
    return None


def _write(file: Path, parts: Parts) -> None:
    with suppress(OSError):  # else it is dealt again
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as made:
            np.savez(made, rows=np.concatenate(parts), sizes=[len(part) for part in parts])
