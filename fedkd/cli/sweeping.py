"""``fedkd run -m``: every combination of several settings, compared."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import rich.progress as rp
import typer
from rich.console import Console

from ..callbacks.interrupts import Interrupts
from ..callbacks.progress import Progress, duration
from ..engine import shared_ray, shutdown
from ..errors import FedkdError, one_line
from ..run.parallel import parallel
from ..run.runner import run
from ..run.worker import Outcome
from ..rundir.locking import locked
from ..score import saved_score
from .commands import print_facts
from .dealing import Sweep, read

RESULT = 52
"""Columns of what a line about a finished run says beside the run's name, as a rule."""


@dataclass
class _Results:
    """What has become of the runs of a sweep."""

    sweep: Sweep
    console: Console
    finished: dict[int, Path] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)

    def failed(self, index: int, error: object, code: int) -> None:
        """Note that a run has failed, and say why."""
        typer.echo(f"error: {self.sweep.runs[index].name}: {error}", err=True)
        self.codes[index] = code


def run_sweep(overrides: list[str], console: Console) -> None:
    """Run every combination in a folder of its own, then compare them.

    A run that fails does not stop the others; the command then ends with its exit code.
    """
    from ..report import overview

    sweep = read(overrides)
    configs = [one.config for one in sweep.runs]
    default = Path("runs", f"{time.strftime('%Y%m%d-%H%M%S')}-sweep")
    folder = Path(configs[0].run_dir or default).expanduser()
    results = _Results(sweep.inside(folder), Console(stderr=True))
    with ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        if not any(config.resume for config in configs):
            stack.enter_context(locked(folder, "run_dir"))
        stack.callback(shutdown)
        left = _beside_one_another(results, interrupts)
        on_ray = [config.engine for i in left if (config := configs[i]).engine.name != "inline"]
        if len({engine.address for engine in on_ray}) == 1:
            stack.enter_context(shared_ray(on_ray[0]))
        for index, why in left.items():
            _alone(results, index, why, interrupts)
    if results.finished:
        finished = [results.finished[index] for index in sorted(results.finished)]
        report = overview(finished, console, folder / "report.html")
        print_facts({"runs": folder, "report": report}, console)
    if results.codes:
        typer.echo(f"error: {len(results.codes)} of {len(configs)} runs failed", err=True)
        raise typer.Exit(max(results.codes.values()))


def _alone(results: _Results, index: int, why: str, interrupts: Interrupts) -> None:
    """Run one with its own engine, and the whole machine."""
    one, runs = results.sweep.runs[index], results.sweep.runs
    reason = f" (alone: {why})" if why else ""
    title = f"run {index + 1} of {len(runs)}"
    results.console.print(f"[bold]{title}[/]: ", end="", highlight=False)
    results.console.out(f"{one.name}{reason}", highlight=False)
    try:
        results.finished[index] = run(one.config, [Progress(), interrupts]).run_dir
    except FedkdError as error:
        results.failed(index, error, error.exit_code)


def _beside_one_another(results: _Results, interrupts: Interrupts) -> dict[int, str]:
    """Run what may be run so; return the other runs, and why they are run alone."""
    sweep = results.sweep
    chosen, console = sweep.beside(), results.console
    left = {i: one.alone for i, one in enumerate(sweep.runs) if i not in chosen}
    if not chosen:
        return left

    configs = [sweep.runs[i].inline for i in chosen]
    console.out(f"{len(chosen)} runs, {sweep.at_once} at a time", highlight=False)
    outcomes = parallel(configs, sweep.at_once, sweep.limits, interrupts.check)
    with _bar(console, len(chosen)) as bar, closing(outcomes):
        for done, (place, outcome) in enumerate(outcomes, 1):
            index = chosen[place]
            if outcome.large:
                left[index] = outcome.large
            elif outcome.run_dir is None:
                results.failed(index, outcome.error, outcome.exit_code)
            else:
                results.finished[index] = outcome.run_dir
                first, *notes = _told(sweep.runs[index].name, outcome, console)
                for line in (f"{done} of {len(chosen)}  {first}", *notes):
                    console.out(line, highlight=False)
            bar.advance(bar.task_ids[0])
    return dict(sorted(left.items()))


@contextmanager
def _bar(console: Console, total: int) -> Iterator[rp.Progress]:
    """Show how many runs are done, on a terminal."""
    columns = rp.TextColumn("runs"), rp.BarColumn(20), rp.MofNCompleteColumn()
    live = console.is_interactive and console.file.isatty()
    times = rp.TimeElapsedColumn()
    with rp.Progress(*columns, times, console=console, transient=True, disable=not live) as bar:
        bar.add_task("", total=total)
        yield bar


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
