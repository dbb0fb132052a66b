"""The folder of decoded data sets: whole ones only, whoever is killed, whatever the disk does."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..atomic import sync
from ..errors import ConfigError
from .fingerprint import of_file, of_json

_SCRATCH = ".decoding-"
META = "meta.json"
"""The file that says what the others are; written last."""


def cache_root(cache: Path | str | None = None) -> Path:
    """Return the directory that holds decoded data sets."""
    if cache is None:
        cache = os.environ.get("FEDKD_CACHE_DIR")
    if cache is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "fedkd"
    return Path(cache).expanduser().resolve()  # workers may run in another directory


@contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """Lend a folder to decode in; those that killed processes left behind are removed.

    A live one is locked by its owner; the root is locked while locks are looked at.

    Raises
    ------
    ConfigError
        If there can be none.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root):
            _remove_dead(root)
            made = Path(tempfile.mkdtemp(dir=root, prefix=_SCRATCH))
            mine = os.open(made, os.O_RDONLY)
            _lock(mine)
    except OSError as error:
        problem = f"cannot be written ({error.strerror}); set it to a folder of yours"
        raise ConfigError("FEDKD_CACHE_DIR", root, problem) from error
    try:
        yield made
    except OSError as error:
        if error.filename and not str(error.filename).startswith(str(root)):
            raise
        problem = f"cannot be written ({error.strerror}); make room, or set it to another folder"
        raise ConfigError("FEDKD_CACHE_DIR", root, problem) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(mine)


def seal(folder: Path, meta: dict[str, Any]) -> None:
    """Write `meta` with the sums of the folder's files, and have the disk keep them all."""
    files = sorted(path for path in folder.iterdir() if path.name != META)
    sums = {path.name: of_file(path) for path in files}
    arrays = {name: hashed for name, hashed in sums.items() if name.endswith(".npy")}
    held = meta | {"files": sums, "content": of_json([arrays, meta["class_names"]])}
    (folder / META).write_text(json.dumps(held | {"sum": of_json(held)}, indent=1))
    for path in (*files, folder / META, folder):
        sync(path)


def intact(folder: Path) -> bool:
    """Say whether a decoded data set is there and has the bytes that it was written with."""
    try:
        held = json.loads((folder / META).read_text())
        own = held.pop("sum")
        files = held["files"].items()
        return own == of_json(held) and all(of_file(folder / n) == s for n, s in files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def publish(staged: Path, target: Path) -> None:
    """Move a sealed folder to its place; a damaged one there goes, a whole one stays."""
    with _locked(target.parent):
        if intact(target):  # another process was faster: same content
            return
        with suppress(FileNotFoundError):
            target.rename(staged.with_name("damaged"))  # whoever has it open keeps its pages
        staged.rename(target)
        sync(target.parent)


def _remove_dead(root: Path) -> None:
    for folder in root.glob(f"{_SCRATCH}*"):
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    with suppress(OSError):  # some network file systems have none: then the dead stay, too
        fcntl.flock(handle, fcntl.LOCK_EX)
