"""A study's folder: what its runs are, what has become of them, and what has still to be done.

``runs.json`` names the runs and has of each what it was begun with: a hash of its configuration,
and of the code that this names. It is written, as a whole, before a run begins and after one fails.
All else is read in the run directories, so whoever is killed, it is never out of date.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ..atomic import write_text
from ..config.saved import readable
from ..errors import ConfigError
from .identity import identity
from .locking import holder

RECORD = "runs.json"
GRACE_SECONDS = 30.0
"""How long a run may still go on that was told to end with its study."""


def key(config: Mapping[str, Any]) -> str:
    """Return a hash of what a study knows a run by: what decides its outcome, and how far it goes.

    Parameters
    ----------
    config : mapping
        The run's configuration as it was asked for, nested.
    """
    return f"{identity(config)[:32]}-{config['rounds']}"


@dataclass(frozen=True)
class Entry:
    """What is known of a run beside what is in its directory."""

    key: str
    """of its configuration"""
    code: dict[str, str] = field(default_factory=dict)
    """what stands for the content of each plug-in when it was last begun"""
    began: float | None = None
    """when, in seconds since 1970"""
    error: str = ""
    """why it has failed, if it has"""
    exit_code: int = 0
    """the command's, for that"""


class StudyFolder:
    """What is in a study's folder.

    Parameters
    ----------
    path : Path
        The folder. Nobody but who holds its lock may write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at_once, self.entries = 1, dict[str, Entry]()
        if (file := path / RECORD).is_file():
            with readable("study", file):
                content = json.loads(file.read_text())
                self.at_once = int(content["at_once"])
                self.entries = {name: Entry(**one) for name, one in content["runs"].items()}
            names = self.entries  # Path("..").name is "..", and that of "" is ""
            if strange := [n for n in names if n in ("", "..") or Path(n).name != n]:
                raise ConfigError(
                    "study", file, f"has a run that is not in its folder: {strange[0]}"
                )

    def write(self) -> None:
        """Keep the entries."""
        runs = {name: asdict(entry) for name, entry in self.entries.items()}
        write_text(
            self.path / RECORD, json.dumps({"at_once": self.at_once, "runs": runs}, indent=1)
        )

    def begin(self, name: str, code: dict[str, str]) -> None:
        """Note that a run begins, with this code."""
        self.entries[name] = Entry(self.entries[name].key, code, time.time())
        self.write()

    def fail(self, name: str, error: str, exit_code: int) -> None:
        """Note that a run has failed."""
        entry = self.entries[name]
        self.entries[name] = Entry(entry.key, entry.code, entry.began, error, exit_code)
        self.write()

    def state(self, name: str) -> str:
        """Return ``finished``, ``failed``, ``begun`` or ``waiting``."""
        if (self.path / name / "summary.json").is_file():
            return "finished"
        if self.entries[name].error:
            return "failed"
        return "begun" if (self.path / name / "config.yaml").is_file() else "waiting"

    def settled(self, name: str) -> str:
        """Return a run's state once nobody writes there any more, or not within `GRACE_SECONDS`."""
        until = time.monotonic() + GRACE_SECONDS
        while (state := self.state(name)) != "finished" and time.monotonic() < until:
            if not holder(self.path / name):
                return self.state(name)
            time.sleep(0.1)
        return state

    def failure(self, name: str) -> str:
        """Return why a run has failed, and where its log is, if it has one."""
        error, log = self.entries[name].error, self.path / name / "log.txt"
        return f"{error} (log: {log})" if log.is_file() and str(log) not in error else error

    def seconds(self) -> list[float]:
        """Return how long each finished run took."""
        files = [self.path / name / "summary.json" for name in self.entries]
        with readable("study", self.path):
            found = [json.loads(file.read_text()) for file in files if file.is_file()]
            return [float(summary["seconds"]["total"]) for summary in found]

    def places(self, wanted: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
        """Return the folder of each wanted run, and those that none of them has.

        A run keeps the folder that it has, whatever it is called now: a study may grow.

        Parameters
        ----------
        wanted : sequence of (name, key)
            The runs of the study, as it is defined now.
        """
        there = {name: entry.key for name, entry in self.entries.items() if self.held(name)}
        places = {name: name for name, own in wanted if there.get(name) == own}
        free = [name for name in there if name not in places]
        for name, own in wanted:
            if name not in places and own in map(there.get, free):
                places[name] = next(other for other in free if there[other] == own)
                free.remove(places[name])
        for name, _ in wanted:
            if name not in places:
                taken, more = set(places.values()), count(2)
                place = name
                while place in taken:
                    place = f"{name}-{next(more)}"
                places[name] = place
        return [places[name] for name, _ in wanted], free

    def held(self, name: str) -> bool:
        """Say whether there is a run in a folder."""
        return (self.path / name / "config.yaml").is_file()
