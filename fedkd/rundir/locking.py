"""One process a run directory: a lock that the system releases when its holder ends, however."""

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path
from weakref import WeakSet

from ..errors import ConfigError, RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("fedkd")

FILE = ".lock"
_TRIES = 10
_LOOK = 0.02
"""Seconds that `holder` may have the lock, to see whether somebody else has."""
_held: "WeakSet[FileIO]" = WeakSet()


def _let_go() -> None:
    """Close what a forked child has inherited: it would keep the lock beyond its parent's end."""
    for file in list(_held):
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


class Lock:
    """A locked directory.

    Attributes
    ----------
    directory : Path
        Which.
    """

    def __init__(self, directory: Path, file: FileIO) -> None:
        self.directory, self._file = directory, file

    @property
    def intact(self) -> bool:
        """Whether the directory is still the one that was locked."""
        try:
            return os.path.samestat(os.stat(self.directory / FILE), os.fstat(self._file.fileno()))
        except (OSError, ValueError):  # closed, in a forked child
            return False

    def check(self) -> None:
        """Raise `RunError` if the directory is not the one that was locked any more."""
        if not self.intact:
            raise RunError(f"{self.directory} was removed while the run was under way")


@contextmanager
def locked(
    directory: Path, key: str, given: object = None, *, shared: bool = False
) -> Iterator[Lock]:
    """Hold a directory, made if missing, for the length of a ``with`` block.

    The lock is ``flock`` on ``.lock`` in it. The system releases it when this process ends, killed
    or not; children do not inherit it. Where the file system has no locks, that is said once, and
    nothing is held.

    Parameters
    ----------
    directory : Path
        What to hold.
    key, given : str, object
        The configuration key and value that errors name; by default the directory.
    shared : bool
        Whether others may hold it so, too, to read it.

    Raises
    ------
    ConfigError
        If another process (or thread) holds it, or it cannot be made or written to.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with locked(folder, "run_dir"):
    ...     with locked(folder, "run_dir", "x"):
    ...         pass
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: run_dir=x: is in use by process ...; wait for its end, or end it
    """
    given = directory if given is None else given
    file = _taken(directory, key, given, shared)
    lock = Lock(directory, file)
    _held.add(file)
    try:
        yield lock
    finally:
        if not file.closed:  # in a forked child it is
            with suppress(OSError):
                file.truncate(0)
            if lock.intact and not (directory / "config.yaml").exists():  # nothing was run in it
                (directory / FILE).unlink()
            file.close()


def holder(directory: Path) -> str:
    """Return who holds a directory, in words; empty if nobody does, or that cannot be told.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with locked(folder, "run_dir"):
    ...     holder(folder)[:8]
    'process '
    >>> holder(folder)
    ''
    """
    try:
        with (directory / FILE).open("rb", buffering=0) as file:
            return "" if fcntl is None or _lock(file, shared=True) else _holder(file)
    except OSError:  # nobody ever has
        return ""


def _taken(directory: Path, key: str, given: object, shared: bool) -> FileIO:
    """Return the locked file, with its holder's name in it."""
    for _ in range(_TRIES):  # whoever held it may have removed it between two of these steps
        file = _opened(directory, key, given)
        if not _lock_soon(file, shared):
            found = _holder(file)
            file.close()
            raise ConfigError(key, given, f"is in use by {found}; wait for its end, or end it")
        if Lock(directory, file).intact:
            file.truncate(0)
            if not shared:
                file.write(_me())
            return file
        file.close()
    raise ConfigError(key, given, "was removed again and again by another process")


def _opened(directory: Path, key: str, given: object) -> FileIO:
    verb = "made"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        verb = "written to"
        handle = os.open(directory / FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(key, given, f"cannot be {verb}: {error.strerror}") from error
    return FileIO(handle, "r+")


def _lock(file: FileIO, shared: bool) -> bool:
    """Lock the file if nobody else has; a file system without locks lets everybody in."""
    if fcntl is None:
        _say_unlocked("this system has no flock")
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        _say_unlocked(str(error.strerror))
    return True


def _lock_soon(file: FileIO, shared: bool) -> bool:
    """Lock the file, even if somebody just looks who has it."""
    if _lock(file, shared):
        return True
    time.sleep(_LOOK)
    return _lock(file, shared)


@cache
def _say_unlocked(reason: str) -> None:
    log.warning("run directories are not locked (%s): never start two runs in one", reason)


def _me() -> bytes:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode()


def _holder(file: FileIO) -> str:
    try:
        me = json.loads(file.read())
        return f"process {int(me['pid'])} on {me['host']} since {me['since']}"
    except (ValueError, KeyError, TypeError):  # those who share it do not write their names
        return "another process that reads it"
