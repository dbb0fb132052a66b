"""What a checkpoint says of itself: which run's it is, of which round, and all that belongs to it.

``manifest.json`` has the run's `identity`, the round, the number of clients, the sha256 of every
file, and its own. So a checkpoint of another run, or one that lacks something, is known before
anything of it is used.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "manifest.json"
NEEDED = {"state.json", "server.safetensors", "rounds.parquet", "clients.parquet"}


class Damage(Exception):
    """A checkpoint cannot be used; the text says why."""


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint consists of.

    Attributes
    ----------
    run : str
        The run's identity (`fedkd.rundir.identity`).
    round : int
        The last finished round.
    clients : int
        How many there are.
    files : dict of str
        The sha256 of each file, by name.
    """

    run: str
    round: int
    clients: int
    files: dict[str, str]

    @property
    def _needed(self) -> set[str]:
        """What a checkpoint cannot do without."""
        shards = {name for name in self.files if name.startswith("clients_")}
        return NEEDED | {str(Path(name).with_suffix(".json")) for name in shards}

    def write(self, folder: Path) -> None:
        """Write it into the checkpoint's folder."""
        content = asdict(self)
        (folder / FILE).write_text(json.dumps(content | {"sum": _sum(content)}, indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Return a checkpoint's; `Damage` if it is not as it was written."""
        try:
            content = json.loads((folder / FILE).read_text())
            own = content.pop("sum")
            made = cls(**content)
        except Exception as error:
            raise Damage(f"{FILE} cannot be read") from error
        if own != _sum(content):
            raise Damage(f"{FILE} does not match its checksum")
        return made

    def check(self, folder: Path, run: str | None, clients: int | None) -> None:
        """Raise `Damage` unless this is a run's checkpoint, and all of it is there.

        Parameters
        ----------
        folder : Path
            The checkpoint's.
        run, clients : optional
            The run's identity and number of clients; None = whichever.
        """
        if run is not None and self.run != run:
            raise Damage("it is another run's, or the data changed since")
        if folder.name != folder_name(self.round):
            raise Damage(f"it is that of round {self.round}")
        if clients is not None and self.clients != clients:
            raise Damage(f"it has {self.clients} clients, the run {clients}")
        for name in sorted(self._needed - set(self.files)):
            raise Damage(f"{FILE} does not list {name}")
        for name, wanted in self.files.items():
            file = folder / name
            if not file.is_file():
                raise Damage(f"{file.name} is missing")
            if sha256(file) != wanted:
                raise Damage(f"{file.name} does not match its checksum")


def folder_name(number: int) -> str:
    """Return the name of the folder of a round's checkpoint.

    Examples
    --------
    >>> folder_name(10)
    'round_00010'
    """
    return f"round_{number:05d}"


def sha256(file: Path) -> str:
    """Return a file's sha256 as hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
