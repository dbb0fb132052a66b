"""What is to be done with each run of a study: nothing, to go on with it, or to run it."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...config import RunConfig
from ...config.code import code_of
from ...config.definition import FILE, Definition
from ...config.overrides import compose
from ...config.saved import saved_config
from ...config.trust import outside, vet
from ...errors import ConfigError
from ...rundir.study import Entry, StudyFolder, key
from .dealing import Run

NAMED = 3
"""Runs that are named in a line; the others are counted."""


@dataclass(frozen=True)
class Step:
    """A run of the study, and what is to be done with it."""

    run: Run
    """named after its folder; its configuration as it is to be run"""
    asked: RunConfig
    """its configuration as it was asked for"""
    state: str
    """``finished``, ``failed``, ``begun`` or ``waiting``: see `StudyFolder.state`"""
    code: dict[str, str]
    """what stands for the content of its plug-ins"""
    anew: bool = False
    """whether what is there is of no use: its code was changed since it failed"""


def steps(folder: StudyFolder, runs: Sequence[Run], study: Definition, retry: bool) -> list[Step]:
    """Return what is to be done, in the order of the runs; nothing is changed on disk.

    Parameters
    ----------
    folder : StudyFolder
        Where the study is, or will be.
    runs : sequence of Run
        The runs that it has now.
    study : Definition
        How it is defined now.
    retry : bool
        Whether runs that have failed are to be run again.

    Raises
    ------
    ConfigError
        If runs that are there would be left over, or were made with other code, or are nobody's.
    """
    keys = [key(run.config.to_dict()) for run in runs]
    places, over = folder.places([*zip((run.name for run in runs), keys, strict=True)])
    if over:
        problem = f"{_some(over)} of its study would be left over{_difference(folder.path, study)}"
        raise _occupied(folder.path, problem)
    strangers = [name for name in places if folder.held(name) and name not in folder.entries]
    if strangers:
        raise _occupied(folder.path, f"already holds {_some(strangers)} of no study")
    made = [_step(folder, *one, retry) for one in zip(runs, keys, places, strict=True)]
    there = [step for step in made if step.state in ("finished", "begun")]
    if edited := [step for step in there if folder.entries[step.run.name].code != step.code]:
        what = ", ".join(edited[0].code)
        since = f"{what} was changed since {_some(step.run.name for step in edited)} began"
        raise _occupied(folder.path, since)
    if longer := [step.run.name for step in made if _longer(folder.path, step)]:
        raise _occupied(folder.path, f"{_some(longer)} went on for more rounds than its study has")
    folder.entries = {step.run.name: folder.entries[step.run.name] for step in made}
    return made


def _step(folder: StudyFolder, run: Run, own: str, place: str, retry: bool) -> Step:
    entry = folder.entries.get(place)
    folder.entries[place] = entry = entry if entry and entry.key == own else Entry(own)
    state, path, config = folder.settled(place), folder.path / place, run.config
    code = code_of(config.to_dict())
    anew = state == "failed" and retry and entry.code != code
    if state == "failed" and retry:
        state = "begun" if folder.held(place) and not anew else "waiting"
    asked = replace(config, run_dir=str(path))
    chosen = going_on(config, path) if state == "begun" else asked
    return Step(replace(run, name=place, config=chosen), asked, state, code, anew)


def _longer(folder: Path, step: Step) -> bool:
    """Say whether somebody has gone on with a run on its own, for more rounds."""
    if step.state not in ("finished", "begun"):
        return False
    return bool(saved_config(folder / step.run.name)["rounds"] > step.asked.rounds)


def going_on(config: RunConfig, run_dir: Path) -> RunConfig:
    """Return the configuration that an interrupted run goes on with: its own.

    Parameters
    ----------
    config : RunConfig
        As it was asked for: the engine, and when checkpoints are written, are taken of it.
    run_dir : Path
        The run's directory, which may have been moved.
    """
    saved = compose([f"resume={run_dir}"], trust=True)
    named = {what for _, what in outside(config.to_dict())}
    vet(run_dir, saved.to_dict(), "resume", given=named, trusted=config.trust)
    here = replace(saved, resume=str(run_dir), run_dir=str(run_dir), trust=config.trust)
    return replace(here, engine=config.engine, checkpoint=config.checkpoint)


def begin(folder: StudyFolder, step: Step) -> None:
    """Note that a run begins; remove what it has left, if it is to be run anew.

    Raises
    ------
    ConfigError
        If a plug-in was edited since the study was called: it cannot have runs of both.
    """
    if code_of(step.asked.to_dict()) != step.code:
        problem = f"{', '.join(step.code)} was changed while the study was under way"
        raise ConfigError("run_dir", folder.path, problem)
    if step.anew:
        shutil.rmtree(folder.path / step.run.name, ignore_errors=True)
    folder.begin(step.run.name, step.code)


def _difference(folder: Path, study: Definition) -> str:
    """Return in what a study is defined otherwise than before, in words."""
    before, now = Definition.read(folder / FILE).overrides, study.overrides
    old = " ".join(text for text in before if text not in now) or "nothing"
    new = " ".join(text for text in now if text not in before) or "nothing"
    return f": it had {old}, it has {new}" if old != new else ""


def _occupied(folder: Path, problem: str) -> ConfigError:
    remedy = "remove their folders, or choose another run_dir"
    return ConfigError("run_dir", folder, f"{problem}; {remedy}")


def _some(names: Iterable[str]) -> str:
    """Return some of the names, and how many there are.

    Examples
    --------
    >>> _some(["seed-0"]), _some(["a", "b", "c", "d"])
    ('1 run (seed-0)', '4 runs (a, b, c, ...)')
    """
    names = list(names)
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f"{len(names)} run{'s' * (len(names) > 1)} ({shown})"
