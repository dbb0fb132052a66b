"""What has become of the runs of a study."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...callbacks.progress import duration
from ...rundir.study import StudyFolder
from .dealing import Sweep
from .planning import Step, begin


@dataclass
class Results:
    """What has become of the runs of a study."""

    steps: Sequence[Step]
    sweep: Sweep
    """those that have still to be run"""
    folder: StudyFolder | None
    """None where runs of anywhere are resumed: they are no study's"""
    finished: dict[str, Path] = field(default_factory=dict)
    failures: dict[str, tuple[str, int]] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    done: int = 0

    def __post_init__(self) -> None:
        """Take over what became of runs before."""
        if self.folder is None:
            return
        for step in self.steps:
            name = step.run.name
            if step.state == "finished":
                self.finished[name] = self.folder.path / name
            elif step.state == "failed":
                entry = self.folder.entries[name]
                self.failures[name] = entry.error, entry.exit_code

    def begin(self, index: int) -> None:
        """Note that one of those to be run begins."""
        step = next(one for one in self.steps if one.run.name == self.sweep.runs[index].name)
        if self.folder is not None:
            begin(self.folder, step)

    def finish(self, index: int, run_dir: Path) -> None:
        """Note that one has finished."""
        self.finished[self.sweep.runs[index].name] = run_dir
        self.done += 1

    def fail(self, index: int, error: object, code: int) -> None:
        """Note that one has failed, and why."""
        name = self.sweep.runs[index].name
        self.failures[name] = str(error), code
        self.done += 1
        if self.folder is not None:
            self.folder.fail(name, str(error), code)

    @property
    def in_order(self) -> list[Path]:
        """The directories of the runs that have finished, in the order of the study."""
        names = [step.run.name for step in self.steps]
        return [self.finished[name] for name in names if name in self.finished]

    @property
    def before(self) -> int:
        """How many had nothing left to do."""
        return len(self.steps) - len(self.sweep.runs)

    def place(self, more: int = 0) -> str:
        """Return how many of all runs are done, and `more`."""
        return f"{self.before + self.done + more} of {len(self.steps)}"

    def failure(self, name: str) -> str:
        """Return why a run has failed, with its log."""
        return self.failures[name][0] if self.folder is None else self.folder.failure(name)

    @property
    def took(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.started

    @property
    def left(self) -> str:
        """About how long the others take, once one has been done."""
        others = len(self.sweep.runs) - self.done
        if not self.done or not others:
            return ""
        return f"left {duration(self.took / self.done * others)}"


def announced(steps: Sequence[Step]) -> str:
    """Return what there is to be done, in words."""
    again = "failed (--retry-failed runs them again)"
    said = {"finished": "finished", "failed": again, "begun": "to go on with", "waiting": "to run"}
    counts = Counter(step.state for step in steps)
    return ", ".join(f"{counts[state]} {words}" for state, words in said.items() if counts[state])
