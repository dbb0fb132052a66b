"""``fedkd status``: how far a study is, as read from its folder."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import pyarrow.parquet as pq
from rich.console import Console

from ..callbacks.progress import duration
from ..config.definition import FILE, Definition
from ..config.saved import readable, saved_config
from ..errors import ConfigError, FedkdError
from ..rundir.freezing import Frozen
from ..rundir.locking import holder
from ..rundir.study import RECORD, StudyFolder
from .commands import print_facts

STATES = ("finished", "begun", "failed", "waiting")


def show_status(path: Path, console: Console) -> None:
    """Print what has become of the runs of a study.

    Raises
    ------
    ConfigError
        If the folder is no study's.
    """
    path = path.expanduser()
    if not (path / RECORD).is_file():
        raise ConfigError("study", path, f"is no study's folder: {RECORD} is missing")
    folder, by = StudyFolder(path), holder(path)
    states = {name: folder.state(name) for name in folder.entries}
    counts = Counter(states.values())
    shown = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    facts: dict[str, object] = {"study": path, **Definition.read(path / FILE).words}
    facts["runs"] = f"{len(states)}: {shown}"
    facts["state"] = f"under way, by {by}" if by else _rest(path, counts)
    if (manifest := Frozen.read(path)) is not None:
        facts["frozen"] = manifest.made
    if by and (left := _left(folder, states)) is not None:
        facts["left"] = f"about {duration(left)}"
    print_facts(facts, console)
    for line in _lines(folder, states, bool(by)):
        console.out(line, highlight=False)


def _rest(path: Path, counts: Counter[str]) -> str:
    if counts["begun"] + counts["waiting"]:
        return f"stopped; fedkd run resume={path} goes on with it"
    return f"done; fedkd run resume={path} --retry-failed" if counts["failed"] else "done"


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


def _lines(folder: StudyFolder, states: dict[str, str], alive: bool) -> Iterator[str]:
    """Yield what is to be known of runs that are neither finished nor still to be run."""
    for name, state in states.items():
        if state == "begun":
            how = "running" if alive and holder(folder.path / name) else "interrupted"
            yield f"{how}  {name}  {_round(folder.path / name)}"
        elif state == "failed":
            yield f"failed  {name}: {folder.failure(name)}"


def _round(run_dir: Path) -> str:
    """Return how far a run is."""
    try:
        with readable("run", run_dir):
            file = run_dir / "rounds.parquet"
            done = pq.read_metadata(file).num_rows if file.is_file() else 0
        return f"round {done} of {saved_config(run_dir)['rounds']}"
    except FedkdError:  # it is being written, or removed
        return ""
