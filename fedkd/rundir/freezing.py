"""What a study was going to be before its first run: so which results belong to it can be told.

``manifest.json`` has, of every run, the identity that its directory will have (its configuration,
and who holds which samples) and its data; and the versions and the plug-ins of all.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..atomic import write_text
from ..config.saved import readable, saved_config
from ..config.trust import outside
from ..errors import ConfigError
from .identity import identity
from .study import StudyFolder, key
from .summary import versions

FILE = "manifest.json"


@dataclass(frozen=True)
class Frozen:
    """A frozen study.

    Attributes
    ----------
    made : str
        When, in ISO 8601.
    study : dict
        Its definition, as in ``study.yaml``.
    runs : dict
        Of each run's name ``key`` (of its configuration as asked for), ``config`` (of the resolved
        one), ``identity`` (of that and its split) and ``data`` (names of decoded data, which have
        hashes of their sources).
    code : dict
        Of each plug-in ``content`` (a hash, or an installed package's version) and ``commit``.
    versions : dict
        Of Python and the packages that decide what comes out.
    """

    made: str
    study: Mapping[str, Any]
    runs: Mapping[str, Mapping[str, Any]]
    code: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write it into the study's folder."""
        content = asdict(self)
        write_text(folder / FILE, json.dumps(content | {"sum": _sum(content)}, indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Frozen | None":
        """Return a study's; None if it was not frozen.

        Raises
        ------
        ConfigError
            If it is not as it was written.
        """
        file = folder / FILE
        if not file.is_file():
            return None
        with readable("study", file):
            content = json.loads(file.read_text())
            own = content.pop("sum")
            made = cls(**content)
        if own != _sum(content):
            raise ConfigError("study", file, "was changed since the study was frozen")
        return made

    def belongs(self, run_dir: Path) -> str:
        """Return why a run is none of those that were frozen; empty if it is.

        Parameters
        ----------
        run_dir : Path
            A run directory; of one that uses plug-ins the study's folder must be around it.
        """
        config = saved_config(run_dir)
        alike = [run for run in self.runs.values() if run["config"] == key(config)]
        if not alike:
            return "its configuration is none of the frozen ones"
        if data_of(run_dir) not in [run["data"] for run in alike]:
            return "its data are not the frozen ones"
        if identity(config, run_dir / "split.npz") not in [run["identity"] for run in alike]:
            return "who holds which samples is not as it was frozen"
        entry = StudyFolder(run_dir.parent).entries.get(run_dir.name)
        if entry is None and [*outside(config)]:
            return "which code it was made with is not known: it is not in its study's folder"
        return self.changed({} if entry is None else entry.code) or self._versions(run_dir)

    def changed(self, code: Mapping[str, str]) -> str:
        """Return which plug-ins are not as they were frozen, in words; empty if all are.

        Parameters
        ----------
        code : mapping
            What stands for the content of those that a run has.
        """
        other = [what for what in code if code[what] != self.code.get(what, {}).get("content")]
        return f"{', '.join(other)} was changed" if other else ""

    def check(self, folder: Path, keys: Collection[str], code: Mapping[str, str]) -> None:
        """Raise `ConfigError` if the study cannot go on as what was frozen."""
        problem = self.changed(code) or _differing(self.versions, versions())
        if sorted(keys) != sorted(run["key"] for run in self.runs.values()):
            problem = "its definition differs"
        if problem:
            problem = f"was frozen on {self.made}, and now {problem}; choose another folder"
            raise ConfigError("run_dir", folder, problem)

    def _versions(self, run_dir: Path) -> str:
        file = run_dir / "summary.json"
        if not file.is_file():
            return "it has not finished"
        with readable("run", file):
            return _differing(self.versions, json.loads(file.read_text())["versions"])


def data_of(run_dir: Path) -> list[str]:
    """Return the names of the decoded data of a run, which hash their sources."""
    with readable("run", run_dir):
        about = json.loads((run_dir / "spec.json").read_text())["data"]
        return [Path(about[key]).name for key in ("corpus", "transfer") if about.get(key)]


def _differing(frozen: Mapping[str, str], found: Mapping[str, str]) -> str:
    other = [f"{n} is {found.get(n)}, was {v}" for n, v in frozen.items() if found.get(n) != v]
    return "; ".join(other)


def _sum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
