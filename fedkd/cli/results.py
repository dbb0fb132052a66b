"""What has become of the runs of a study, and what is said of it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import rich.progress as rp
import typer
from rich.console import Console

from ..callbacks.progress import duration
from ..errors import one_line
from ..run.worker import Outcome
from ..rundir.study import StudyFolder
from ..score import saved_score
from .commands import print_facts
from .dealing import Sweep
from .planning import Step, begin

RESULT = 60
"""Columns of what a line about a finished run says beside the run's name, as a rule."""


@dataclass
class Results:
    """What has become of the runs of a study."""

    steps: Sequence[Step]
    sweep: Sweep
    """those that have still to be run"""
    folder: StudyFolder | None
    """None where runs of anywhere are resumed: they are no study's"""
    console: Console
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
        """Note that one has failed, and say why."""
        name = self.sweep.runs[index].name
        self.failures[name] = str(error), code
        self.done += 1
        if self.folder is not None:
            self.folder.fail(name, str(error), code)
        self.console.out(f"failed: {name}: {error}", highlight=False)

    def place(self, more: int = 0) -> str:
        """Return how many of all runs are done, and `more`."""
        before = len(self.steps) - len(self.sweep.runs)
        return f"{before + self.done + more} of {len(self.steps)}"

    @property
    def left(self) -> str:
        """About how long the others take, once one has been done."""
        others = len(self.sweep.runs) - self.done
        if not self.done or not others:
            return ""
        return f"left {duration((time.monotonic() - self.started) / self.done * others)}"


def announced(steps: Sequence[Step]) -> str:
    """Return what there is to be done, in words."""
    again = "failed (--retry-failed runs them again)"
    said = {"finished": "finished", "failed": again, "begun": "to go on with", "waiting": "to run"}
    counts = Counter(step.state for step in steps)
    return ", ".join(f"{counts[state]} {words}" for state, words in said.items() if counts[state])


def tell(results: Results, folder: Path, console: Console) -> None:
    """Compare what has finished, and name what has failed."""
    from ..report import overview

    finished = [
        results.finished[step.run.name]
        for step in results.steps
        if step.run.name in results.finished
    ]
    if finished:
        report = overview(finished, console, folder / "report.html")
        print_facts({"runs": folder, "report": report}, console)
    if not results.failures:
        return
    for name, (error, _) in results.failures.items():
        told = error if results.folder is None else results.folder.failure(name)
        typer.echo(f"error: {name}: {told}", err=True)
    count = f"{len(results.failures)} of {len(results.steps)} runs failed"
    again = "" if results.folder is None else f"; fedkd run resume={folder} --retry-failed"
    typer.echo(f"error: {count}{again}", err=True)
    raise typer.Exit(max(code for _, code in results.failures.values()))


@contextmanager
def bar(results: Results) -> Iterator[Callable[[], None]]:
    """Show how many runs are done, and the time left, on a terminal; lend what updates it."""
    console = results.console
    columns = rp.TextColumn("runs"), rp.BarColumn(20), rp.MofNCompleteColumn()
    live = console.is_interactive and console.file.isatty()
    times = rp.TimeElapsedColumn(), rp.TextColumn("{task.fields[left]}")
    with rp.Progress(*columns, *times, console=console, transient=True, disable=not live) as shown:
        done = len(results.steps) - len(results.sweep.runs)
        task = shown.add_task("", total=len(results.steps), completed=done, left="")
        yield lambda: shown.update(task, completed=done + results.done, left=results.left)


def told(name: str, outcome: Outcome, console: Console) -> Iterator[str]:
    """Yield what to say of a finished run: its results, in a line of a terminal, then its notes."""
    summary = outcome.summary or {}
    shown = one_line(name, max(20, console.width - RESULT)) if console.is_terminal else name
    score = saved_score(Path(outcome.run_dir or "."))
    local, overall = (score.plain(summary[f"score_{n}"]["last"]) for n in ("local", "global"))
    counts = [f"{summary[key]} {key}" for key in ("rejected", "diverged") if summary[key]]
    seconds = duration(summary["seconds"]["total"])
    yield "  ".join([shown, f"{score.title('local')} {local}  global {overall}", seconds, *counts])
    yield from (f"  note: {note}" for note in outcome.notes)
