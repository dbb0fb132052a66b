"""A study: every combination of several settings, each in a folder of its own, compared.

It may be interrupted at any time: called again, it does what is left to do.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import rich.progress as rp
import typer
from rich.console import Console

from ..callbacks.interrupts import Interrupts
from ..callbacks.progress import Progress, duration
from ..config.definition import FILE, Definition
from ..config.study import StudyConfig
from ..config.trust import outside, seal
from ..engine import shared_ray, shutdown
from ..errors import FedkdError, one_line
from ..run.parallel import parallel
from ..run.runner import run
from ..run.worker import Outcome
from ..rundir.freezing import Frozen
from ..rundir.locking import locked
from ..rundir.study import StudyFolder
from ..score import saved_score
from .commands import print_facts
from .dealing import Run, Sweep, dealt, spanned
from .freezing import frozen
from .planning import Step, begin, steps

RESULT = 60
"""Columns of what a line about a finished run says beside the run's name, as a rule."""


@dataclass
class _Results:
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

    @property
    def place(self) -> str:
        """How many of all runs are done."""
        return f"{len(self.steps) - len(self.sweep.runs) + self.done} of {len(self.steps)}"

    @property
    def next(self) -> str:
        """Which of all runs the next one is."""
        return f"{len(self.steps) - len(self.sweep.runs) + self.done + 1} of {len(self.steps)}"

    @property
    def left(self) -> str:
        """About how long the others take, once one has been done."""
        others = len(self.sweep.runs) - self.done
        if not self.done or not others:
            return ""
        return f"left {duration((time.monotonic() - self.started) / self.done * others)}"


def run_study(
    study: Definition, folder: Path, console: Console, retry: bool = False, freeze: bool = False
) -> None:
    """Run what is left of a study, then compare all its runs.

    A run that fails does not stop the others; the command then ends with its exit code.

    Parameters
    ----------
    study : Definition
        What it is.
    folder : Path
        Where it is, or will be.
    console : Console
        Where the table goes.
    retry : bool
        Whether runs that have failed are run again.
    freeze : bool
        Whether to write ``manifest.json`` before the first run.
    """
    how, runs = spanned(study.overrides)
    with ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        if any(one.config.resume for one in runs):
            results = _resumed(dealt(how, runs), folder)
        else:
            stack.enter_context(locked(folder, "run_dir"))
            results = _begun(study, how, runs, folder, retry, freeze)
        stack.callback(shutdown)
        try:
            _run_all(results, interrupts)
        except KeyboardInterrupt:
            if results.folder is not None:
                typer.echo(f"fedkd run resume={folder} goes on with it", err=True)
            raise
    _tell(results, folder, console)


def _resumed(sweep: Sweep, folder: Path) -> _Results:
    """Return runs that lie anywhere, to be resumed; their report goes into a folder."""
    inside = [
        replace(r, config=replace(r.config, run_dir=str(folder / r.name))) for r in sweep.runs
    ]
    todo = [Step(run, run.config, "begun") for run in inside]
    return _Results(todo, replace(sweep, runs=inside), None, Console(stderr=True))


def _begun(
    study: Definition,
    how: StudyConfig,
    runs: Sequence[Run],
    path: Path,
    retry: bool,
    freeze: bool,
) -> _Results:
    """Return what is left of a study, written into its folder before it goes on."""
    console, folder = Console(stderr=True), StudyFolder(path)
    known = steps(folder, runs, study, retry)
    sweep = dealt(how, [step.run for step in known if step.state in ("begun", "waiting")])
    manifest = frozen(folder, known, study, freeze)
    folder.at_once = sweep.at_once
    study.write(path)
    seal(path, [FILE], [*outside([step.asked.to_dict() for step in known])])
    folder.write()
    if manifest is not None:
        manifest.write(path)
    results = _Results(known, sweep, folder, console)
    for name, state in ((step.run.name, step.state) for step in known):
        if state == "finished":
            results.finished[name] = path / name
        elif state == "failed":
            results.failures[name] = folder.entries[name].error, folder.entries[name].exit_code
    counts = Counter(step.state for step in known)
    said = {"finished": "finished", "begun": "to go on with", "waiting": "to run"}
    told = [f"{counts[state]} {words}" for state, words in said.items() if counts[state]]
    if counts["failed"]:
        told.append(f"{counts['failed']} failed (--retry-failed runs them again)")
    console.out(f"study {path}: {', '.join(told)}", highlight=False)
    return results


def _run_all(results: _Results, interrupts: Interrupts) -> None:
    """Run what is left: some side by side, the others alone after them."""
    runs = results.sweep.runs
    with ExitStack() as stack:
        left = _beside_one_another(results, interrupts)
        on_ray = [runs[i].config.engine for i in left]
        on_ray = [engine for engine in on_ray if engine.name != "inline"]
        if len({engine.address for engine in on_ray}) == 1:
            stack.enter_context(shared_ray(on_ray[0]))
        for index, why in left.items():
            _alone(results, index, why, interrupts)


def _tell(results: _Results, folder: Path, console: Console) -> None:
    """Compare what has finished, and name what has failed."""
    from ..report import compare

    finished = [
        results.finished[step.run.name]
        for step in results.steps
        if step.run.name in results.finished
    ]
    if finished:
        report = compare(finished, console, folder / "report.html")
        print_facts({"runs": folder, "report": report} | _belonging(finished, folder), console)
    if not results.failures:
        return
    for name, (error, _) in results.failures.items():
        told = error if results.folder is None else results.folder.failure(name)
        typer.echo(f"error: {name}: {told}", err=True)
    count = f"{len(results.failures)} of {len(results.steps)} runs failed"
    again = "" if results.folder is None else f"; fedkd run resume={folder} --retry-failed"
    typer.echo(f"error: {count}{again}", err=True)
    raise typer.Exit(max(code for _, code in results.failures.values()))


def _belonging(finished: Sequence[Path], folder: Path) -> dict[str, object]:
    """Return whether runs are those that were frozen, if they were."""
    manifest = Frozen.read(folder)
    if manifest is None:
        return {}
    other = [f"{path.name}: {why}" for path in finished if (why := manifest.belongs(path))]
    return {"frozen": "; ".join(other) or f"{manifest.made}; all these runs belong to it"}


def _alone(results: _Results, index: int, why: str, interrupts: Interrupts) -> None:
    """Run one with its own engine, and the whole machine."""
    one, console = results.sweep.runs[index], results.console
    reason = f" (alone: {why})" if why else ""
    left = f" ({results.left})" if results.left else ""
    console.print(f"[bold]run {results.next}[/]{left}: ", end="", highlight=False)
    console.out(f"{one.name}{reason}", highlight=False)
    results.begin(index)
    try:
        results.finish(index, run(one.config, [Progress(), interrupts]).run_dir)
    except FedkdError as error:
        results.fail(index, error, error.exit_code)


def _beside_one_another(results: _Results, interrupts: Interrupts) -> dict[int, str]:
    """Run what may be run so; return the other runs, and why they are run alone."""
    sweep = results.sweep
    chosen, console = sweep.beside(), results.console
    left = {i: one.alone for i, one in enumerate(sweep.runs) if i not in chosen}
    if not chosen:
        return left

    configs = [sweep.runs[i].inline for i in chosen]
    console.out(f"{len(chosen)} runs, {sweep.at_once} at a time", highlight=False)
    outcomes = parallel(
        configs, sweep.at_once, sweep.limits, interrupts.check, lambda i: results.begin(chosen[i])
    )
    with _bar(results) as update, closing(outcomes):
        for place, outcome in outcomes:
            index = chosen[place]
            if outcome.large:
                left[index] = outcome.large
            elif outcome.run_dir is None:
                results.fail(index, outcome.error, outcome.exit_code)
            else:
                results.finish(index, outcome.run_dir)
                first, *notes = _told(sweep.runs[index].name, outcome, console)
                for line in (f"{results.place}  {first}  {results.left}".rstrip(), *notes):
                    console.out(line, highlight=False)
            update()
    return dict(sorted(left.items()))


@contextmanager
def _bar(results: _Results) -> Iterator[Callable[[], None]]:
    """Show how many runs are done, and the time left, on a terminal; lend what updates it."""
    console = results.console
    columns = rp.TextColumn("runs"), rp.BarColumn(20), rp.MofNCompleteColumn()
    live = console.is_interactive and console.file.isatty()
    times = rp.TimeElapsedColumn(), rp.TextColumn("{task.fields[left]}")
    with rp.Progress(*columns, *times, console=console, transient=True, disable=not live) as bar:
        done = len(results.steps) - len(results.sweep.runs)
        task = bar.add_task("", total=len(results.steps), completed=done, left="")
        yield lambda: bar.update(task, completed=done + results.done, left=results.left)


def _told(name: str, outcome: Outcome, console: Console) -> Iterator[str]:
    """Yield what to say of a finished run: its results, in a line of a terminal, then its notes."""
    summary = outcome.summary or {}
    shown = one_line(name, max(20, console.width - RESULT)) if console.is_terminal else name
    score = saved_score(Path(outcome.run_dir or "."))
    local, overall = (score.plain(summary[f"score_{n}"]["last"]) for n in ("local", "global"))
    counts = [f"{summary[key]} {key}" for key in ("rejected", "diverged") if summary[key]]
    seconds = duration(summary["seconds"]["total"])
    yield "  ".join([shown, f"{score.title('local')} {local}  global {overall}", seconds, *counts])
    yield from (f"  note: {note}" for note in outcome.notes)
