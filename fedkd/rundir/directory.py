"""The run directory: made, locked against a second run, and with a log in it."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, RunError
from .locking import Lock, locked

log = logging.getLogger("fedkd")


@dataclass(frozen=True)
class RunDirectory:
    """Where a run writes, for as long as it goes on.

    Attributes
    ----------
    path : Path
        The directory.
    lock : Lock
        Says whether it is still there.
    keep : object
        Keeps it alive if it is a temporary one.
    """

    path: Path
    lock: Lock
    keep: Any = None


@contextmanager
def run_directory(given: str | None, resumed: bool = False) -> Iterator[RunDirectory]:
    """Lend the directory to one run.

    Only a resumed run may write where a run already is.

    Raises
    ------
    ConfigError
        If a run is under way in it, or it already holds one, or it cannot be made or written to.
    RunError
        If it was removed meanwhile.
    """
    keep = tempfile.TemporaryDirectory(prefix="fedkd-") if given is None else None
    path = Path(keep.name if keep else str(given)).expanduser().resolve()
    new = _is_new(path)
    with locked(path, "resume" if resumed else "run_dir", given) as lock:
        if (path / "config.yaml").exists() and not resumed:
            problem = "already holds a run; choose another, remove it, or resume it"
            raise ConfigError("run_dir", given, problem)
        try:
            yield RunDirectory(path, lock, keep)
        except ConfigError:  # nothing was run, so nothing is left behind
            if new:
                shutil.rmtree(path, ignore_errors=True)
            raise
        except Exception as error:
            lock.check()  # what went wrong may be that there was nowhere to write to
            if isinstance(error, OSError):
                problem = f"{error.filename or path}: {error.strerror or error}"
                raise RunError(problem) from error
            raise
        lock.check()


def _is_new(path: Path) -> bool:
    """Say whether there is nothing in a directory, or no directory."""
    try:
        return not any(path.iterdir())
    except OSError:
        return not path.is_dir()


@contextmanager
def log_file(run_dir: Path) -> Iterator[None]:
    """Write fedkd's log messages to ``log.txt``."""
    handler = logging.FileHandler(run_dir / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.setLevel(level)
        log.propagate = propagate
        log.removeHandler(handler)
        handler.close()
