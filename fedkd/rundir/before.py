"""What a run directory was before a run went on in it, for one that comes to nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError
from .locking import FILE as LOCK

LOG = "log.txt"


class Before:
    """The files of a run directory as they were, until they are not needed any more.

    Checkpoints and models, in folders, are only written once a round is done.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.files = {path: path.read_bytes() for path in self._present()}
        self.needed = True

    def forget(self) -> None:
        """Let what is there now stand, whatever happens."""
        self.files, self.needed = {}, False

    def put_back(self, log: bool) -> None:
        """Make the directory as it was; its log too, if `log`."""
        for path in {*self._present(), *self.files}:
            if path.name == LOG and not log:
                continue
            if path not in self.files:
                path.unlink()
            elif not path.is_file() or path.read_bytes() != self.files[path]:
                path.write_bytes(self.files[path])

    def _present(self) -> list[Path]:
        return [path for path in self.run_dir.iterdir() if path.is_file() and path.name != LOCK]


@contextmanager
def as_it_was(run_dir: Path) -> Iterator[Before]:
    """Put a run directory back if what is done inside fails while that is needed.

    What was logged stays, unless the configuration is refused, which says all in its line.
    """
    before = Before(run_dir)
    try:
        yield before
    except BaseException as error:
        if before.needed and run_dir.is_dir():
            before.put_back(log=isinstance(error, ConfigError))
        raise
