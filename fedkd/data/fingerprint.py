"""Hashes of content: what a data set is kept under, and whether what is kept is still whole."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .decode import Raw

_BATCH = 1000


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(folder: Path, files: Iterable[Path]) -> str:
    """Return a hash of files' names under `folder` and of all their bytes.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as name:
    ...     file = Path(name, "a")
    ...     _ = file.write_text("1")
    ...     before = of_files(Path(name), [file])
    ...     _ = file.write_text("2")
    ...     before == of_files(Path(name), [file])
    False
    """
    return of_json([[str(file.relative_to(folder)), of_file(file)] for file in files])


def of_json(value: Any) -> str:
    """Return a hash of lists, dicts and scalars."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def of_raw(raw: Raw) -> str:
    """Return a hash of a decoded split."""
    digest = hashlib.sha256(repr((raw.x.dtype, raw.x.shape, raw.class_names)).encode())
    digest.update(repr(raw.columns).encode())
    texts = raw.x.dtype == object
    digest.update(repr(raw.x.tolist()).encode() if texts else np.ascontiguousarray(raw.x).data)
    digest.update(repr(raw.y.tolist()).encode())
    _add(digest, raw.table)
    return digest.hexdigest()


def of_dataset(dataset: Any) -> str:
    """Return a hash of a `datasets.Dataset`: its rows, and the files that pictures are in."""
    import datasets

    images = [n for n, kind in dataset.features.items() if isinstance(kind, datasets.Image)]
    digest = hashlib.sha256(repr(dataset.features).encode())
    for name in images:
        dataset = dataset.cast_column(name, datasets.Image(decode=False))
    for batch in dataset.with_format("arrow").iter(_BATCH):
        _add(digest, batch)
        for name in images:
            for cell in batch.column(name).to_pylist():
                if cell and not cell["bytes"] and cell["path"] and Path(cell["path"]).is_file():
                    digest.update(of_file(Path(cell["path"])).encode())
    return digest.hexdigest()


def _add(digest: Any, table: pa.Table) -> None:
    """Add a table's rows, however they lie in chunks."""
    table = table.replace_schema_metadata().combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    digest.update(sink.getvalue())
