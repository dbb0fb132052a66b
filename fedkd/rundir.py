"""The run directory: made, locked against a second run, and with a log in it."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import ConfigError

log = logging.getLogger("fedkd")


@contextmanager
def run_directory(given: str | None, resumed: bool = False) -> Iterator[tuple[Path, Any]]:
    """Yield the directory, and what keeps it alive if it is a temporary one.

    Only a resumed run may write where a run already is.

    Raises
    ------
    ConfigError
        If it already holds a run, or cannot be made.
    """
    if given is None:
        keep = tempfile.TemporaryDirectory(prefix="fedkd-")
        yield Path(keep.name), keep
        return
    path = Path(given).expanduser().resolve()
    new = not path.exists()
    if (path / "config.yaml").exists() and not resumed:
        raise ConfigError(
            "run_dir", given, "already holds a run; choose another, remove it, or resume it"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("run_dir", given, f"cannot be made: {error.strerror}") from error
    try:
        yield path, None
    except ConfigError:  # nothing was run, so nothing is left behind
        if new:
            shutil.rmtree(path, ignore_errors=True)
        raise


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
