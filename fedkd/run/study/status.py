"""How far a study is, as read from its folder; it may be under way in another process."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from statistics import mean
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from ...callbacks.progress import duration
from ...config.definition import FILE, Definition
from ...config.saved import readable, saved_config
from ...errors import ConfigError, FedkdError
from ...rundir.freezing import Frozen
from ...rundir.locking import holder
from ...rundir.study import RECORD, StudyFolder

if TYPE_CHECKING:
    import pandas as pd

STATES = ("finished", "begun", "failed", "waiting")


@dataclass(frozen=True)
class RunStatus:
    """How far a run of a study is.

    Attributes
    ----------
    run : str
        Its folder's name.
    state : str
        ``finished``, ``running``, ``interrupted``, ``failed`` or ``waiting``.
    round, rounds : int or None
        Those that are done, and those that it has; None before it begins.
    error : str
        Why it has failed, and where its log is.
    """

    run: str
    state: str
    round: int | None = None
    rounds: int | None = None
    error: str = ""


@dataclass(frozen=True, repr=False)
class Status:
    """How far a study is; a notebook shows it as a table.

    Attributes
    ----------
    facts : dict
        What is known of the study as a whole, in words.
    runs : sequence of RunStatus
        In the order of the study.
    """

    facts: Mapping[str, object]
    runs: Sequence[RunStatus]

    @classmethod
    def read(cls, path: str | Path) -> "Status":
        """Return how far a study is.

        Raises
        ------
        ConfigError
            If the folder is no study's.
        """
        path = known(path)
        folder, by = StudyFolder(path), holder(path)
        states = {name: folder.state(name) for name in folder.entries}
        counts = Counter(states.values())
        shown = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
        facts: dict[str, object] = {"study": path, **Definition.read(path / FILE).words}
        facts["runs"] = f"{len(states)}: {shown}" if states else "none"
        facts["state"] = f"under way, by {by}" if by else _rest(path, counts)
        if (manifest := Frozen.read(path)) is not None:
            facts["frozen"] = manifest.made
        if by and (left := _left(folder, states)) is not None:
            facts["left"] = f"about {duration(left)}"
        return cls(facts, [_run(folder, name, state, bool(by)) for name, state in states.items()])

    @property
    def headline(self) -> str:
        """How many runs there are, what has become of them, and what is being done.

        Examples
        --------
        >>> Status({"runs": "2: 1 finished, 1 waiting", "state": "stopped"}, []).headline
        'runs 2: 1 finished, 1 waiting; stopped'
        """
        return f"runs {self.facts['runs']}; {self.facts['state']}"

    @property
    def lines(self) -> list[str]:
        """What is to be known of runs that are neither finished nor still to be run."""
        lines = []
        for run in self.runs:
            if run.state in ("running", "interrupted"):
                of = "" if run.rounds is None else f"round {run.round} of {run.rounds}"
                lines.append(f"{run.state}  {run.run}  {of}".rstrip())
            elif run.state == "failed":
                lines.append(f"failed  {run.run}: {run.error}")
        return lines

    @property
    def more(self) -> list[str]:
        """What else is known of the study."""
        said = ("study", "runs", "state")
        return [f"{name}: {value}" for name, value in self.facts.items() if name not in said]

    def to_pandas(self) -> "pd.DataFrame":
        """Return a row a run, with the fields of `RunStatus`."""
        import pandas as pd

        rows = [vars(run) for run in self.runs]
        table = pd.DataFrame(rows, columns=list(RunStatus.__dataclass_fields__))
        return table.astype({"round": "Int64", "rounds": "Int64"})

    def __repr__(self) -> str:
        width = max(map(len, self.facts))
        told = [f"{name:<{width}}  {value}" for name, value in self.facts.items()]
        return "\n".join([*told, *self.lines])

    def _repr_html_(self) -> str:
        from ...report.cell import Cell
        from ...report.notebook import card

        rows = [[Cell(run.run), Cell(run.state, run.error), Cell(_of(run))] for run in self.runs]
        heads = ["run", "state", "rounds"]
        return card("study", str(self.facts["study"]), heads, rows, self.headline, *self.more)


def known(path: str | Path) -> Path:
    """Return a study's folder; fail if it is none."""
    if not isinstance(path, str | Path):
        raise ConfigError("study", path, "must be the path of a study's folder")
    path = Path(path).expanduser()
    if not (path / RECORD).is_file():
        raise ConfigError("study", path, f"is no study's folder: {RECORD} is missing")
    return path


def _rest(path: Path, counts: Counter[str]) -> str:
    again = f"fedkd run {quote(f'resume={path}')}"
    if counts["begun"] + counts["waiting"]:
        return f"stopped; {again} goes on with it"
    return f"done; {again} --retry-failed" if counts["failed"] else "done"


def _left(folder: StudyFolder, states: dict[str, str]) -> float | None:
    """Return about how many seconds the study still takes; None before its first run is done."""
    took = folder.seconds()
    if not took:
        return None
    each, now = mean(took), time.time()
    waiting = sum(each for state in states.values() if state == "waiting")
    begun = [folder.entries[name].began for name, state in states.items() if state == "begun"]
    under_way = sum(max(0.0, each - (now - (since or now))) for since in begun)
    return (waiting + under_way) / folder.at_once


def _run(folder: StudyFolder, name: str, state: str, alive: bool) -> RunStatus:
    path = folder.path / name
    error = folder.failure(name) if state == "failed" else ""
    if state == "begun":
        state = "running" if alive and holder(path) else "interrupted"
    done, rounds = (None, None) if state == "waiting" else _rounds(path)
    return RunStatus(name, state, done, rounds, error)


def _of(run: RunStatus) -> str:
    return "" if run.rounds is None else f"{run.round} of {run.rounds}"


def _rounds(run_dir: Path) -> tuple[int | None, int | None]:
    """Return how many rounds of a run are done, and how many it has."""
    try:
        with readable("run", run_dir):
            file = run_dir / "rounds.parquet"
            done = pq.read_metadata(file).num_rows if file.is_file() else 0
            if (summary := run_dir / "summary.json").is_file():  # which is read sooner
                return done, int(json.loads(summary.read_text())["rounds"])
        return done, int(saved_config(run_dir)["rounds"])
    except FedkdError:  # it is being written, or removed
        return None, None
