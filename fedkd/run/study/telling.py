"""Who is told how far a study is: nobody, a console, or whoever looks at a notebook's cell."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import rich.progress as rp
from rich.console import Console

from ...callbacks import Callback, CellProgress, Progress
from ...callbacks.cell import CellLine, settled_notebook
from ...callbacks.progress import duration
from ...ending import outlasting
from ...errors import one_line
from ...score import saved_score
from ..worker import Outcome
from .results import Results

RESULT = 60
"""Columns of what a line about a finished run says beside the run's name, as a rule."""


class Teller:
    """Says how far a study is. This one says nothing."""

    def say(self, line: str) -> None:
        """Say something that stays."""

    def alone(self, results: Results, name: str, why: str) -> None:
        """Say that a run begins, and why by itself."""

    def finished(self, results: Results, name: str, outcome: Outcome) -> None:
        """Say what has become of a run that was run beside others."""

    def observers(self) -> list[Callback]:
        """Return what follows a run that is run by itself."""
        return []

    @contextmanager
    def beside(self, results: Results) -> Iterator[Callable[[], None]]:
        """Show how many runs are done; lend what updates it."""
        yield lambda: None

    def done(self, results: Results) -> None:
        """Say that nothing is left to do."""


class ConsoleTeller(Teller):
    """Says it in lines, and as a bar on a terminal.

    Parameters
    ----------
    console : rich.console.Console, optional
        Standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console: Console = console or outlasting(Console(stderr=True))

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.out(line, highlight=False)

    def alone(self, results: Results, name: str, why: str) -> None:
        """Print a line."""
        reason = f" (alone: {why})" if why else ""
        left = f" ({results.left})" if results.left else ""
        start = f"[bold]run {results.place(1)}[/]{left}: "
        self.console.print(start, end="", highlight=False)
        self.say(f"{name}{reason}")

    def finished(self, results: Results, name: str, outcome: Outcome) -> None:
        """Print the run's results in a line of a terminal, then its notes."""
        room = max(20, self.console.width - RESULT)
        shown = one_line(name, room) if self.console.is_terminal else name
        first, *notes = told(shown, outcome)
        for line in (f"{results.place()}  {first}  {results.left}".rstrip(), *notes):
            self.say(line)

    def observers(self) -> list[Callback]:
        """Return the display of a single run."""
        return [Progress()]

    @contextmanager
    def beside(self, results: Results) -> Iterator[Callable[[], None]]:
        """Show a bar, and the time left, on a terminal."""
        console = self.console
        columns = rp.TextColumn("runs"), rp.BarColumn(20), rp.MofNCompleteColumn()
        live = console.is_interactive and console.file.isatty()
        times = rp.TimeElapsedColumn(), rp.TextColumn("{task.fields[left]}")
        options = {"console": console, "transient": True, "disable": not live}
        with rp.Progress(*columns, *times, **options) as shown:  # type: ignore[arg-type]
            total, before = len(results.steps), results.before
            task = shown.add_task("", total=total, completed=before, left="")
            yield lambda: shown.update(task, completed=before + results.done, left=results.left)


class CellTeller(Teller):
    """Says it in a line under a notebook's cell, with notes below."""

    def __init__(self) -> None:
        self.line = CellLine()

    def say(self, line: str) -> None:
        """Add a note."""
        self.line.note(line)

    def alone(self, results: Results, name: str, why: str) -> None:
        """Have the run at the front of the line."""
        left = f" ({results.left})" if results.left else ""
        self.line.title = f"run {results.place(1)}{left}: {name}"

    def finished(self, results: Results, name: str, outcome: Outcome) -> None:
        """Note what is to be known of the run."""
        for note in outcome.notes:
            self.say(f"note: {note}")

    def observers(self) -> list[Callback]:
        """Return what writes into the line."""
        return [CellProgress(self.line)]

    @contextmanager
    def beside(self, results: Results) -> Iterator[Callable[[], None]]:
        """Count the runs in the line."""
        at_once, self.line.title = results.sweep.at_once, ""

        def update() -> None:
            what = f"runs, {at_once} at a time"
            done, total = results.before + results.done, len(results.steps)
            self.line.update(description=what, completed=done, total=total, headline=results.left)

        update()
        yield update

    def done(self, results: Results) -> None:
        """Say what has become of all."""
        failed = f", {len(results.failures)} failed" if results.failures else ""
        self.line.title = ""
        count = len(results.finished)
        runs = f"{count} run{'s' * (count != 1)} finished"
        self.line.say(f"{runs}{failed} in {duration(results.took)}")


def teller(progress: bool | None) -> Teller:
    """Return who is told where Python calls: by default a notebook, and nobody elsewhere."""
    here = settled_notebook()
    if progress is False or not (progress or here):
        return Teller()
    return CellTeller() if here else ConsoleTeller()


def told(name: str, outcome: Outcome) -> Sequence[str]:
    """Return what to say of a finished run: its results, then its notes."""
    summary = outcome.summary or {}
    score = saved_score(Path(outcome.run_dir or "."))
    local, overall = (score.plain(summary[f"score_{n}"]["last"]) for n in ("local", "global"))
    counts = [f"{summary[key]} {key}" for key in ("rejected", "diverged") if summary[key]]
    seconds = duration(summary["seconds"]["total"])
    first = [name, f"{score.title('local')} {local}  global {overall}", seconds, *counts]
    return ["  ".join(first), *(f"  note: {note}" for note in outcome.notes)]
