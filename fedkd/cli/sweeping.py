"""A study: every combination of several settings, each in a folder of its own, compared.

It may be interrupted at any time: called again, it does what is left to do.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import typer
from rich.console import Console

from ..callbacks.interrupts import Interrupts
from ..callbacks.progress import Progress
from ..config.definition import FILE, Definition
from ..config.study import StudyConfig
from ..config.trust import outside, seal
from ..ending import outlasting
from ..engine import shared_ray, shutdown
from ..errors import ConfigError, FedkdError
from ..run.parallel import parallel
from ..run.runner import run
from ..rundir.locking import locked
from ..rundir.study import StudyFolder
from .dealing import Run, Sweep, dealt, spanned
from .freezing import frozen
from .planning import Step, steps
from .results import Results, announced, bar, tell, told


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
            stack.enter_context(_held(folder))
            results = _begun(study, how, runs, folder, retry, freeze)
        stack.callback(shutdown)
        try:
            _run_all(results, interrupts)
        except KeyboardInterrupt:
            if results.folder is not None:
                typer.echo(f"fedkd run resume={folder} goes on with it", err=True)
            raise
    tell(results, folder, console)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a study's folder; leave none behind if nothing was run."""
    new = not folder.exists()
    try:
        with locked(folder, "run_dir"):
            yield
    except ConfigError:
        if new:
            with suppress(OSError):  # there is something in it
                folder.rmdir()
        raise


def _resumed(sweep: Sweep, folder: Path) -> Results:
    """Return runs that lie anywhere, to be resumed; their report goes into a folder."""
    inside = [
        replace(r, config=replace(r.config, run_dir=str(folder / r.name))) for r in sweep.runs
    ]
    todo = [Step(run, run.config, "begun", {}) for run in inside]
    return Results(todo, replace(sweep, runs=inside), None, outlasting(Console(stderr=True)))


def _begun(
    study: Definition,
    how: StudyConfig,
    runs: Sequence[Run],
    path: Path,
    retry: bool,
    freeze: bool,
) -> Results:
    """Return what is left of a study, written into its folder before it goes on."""
    console, folder = outlasting(Console(stderr=True)), StudyFolder(path)
    known = steps(folder, runs, study, retry)
    sweep = dealt(how, [step.run for step in known if step.state in ("begun", "waiting")])
    manifest = frozen(folder, known, study, freeze)
    folder.at_once = sweep.at_once
    study.write(path)
    seal(path, [FILE], [*outside([step.asked.to_dict() for step in known])])
    folder.write()
    if manifest is not None:
        manifest.write(path)
    console.out(f"study {path}: {announced(known)}", highlight=False)
    return Results(known, sweep, folder, console)


def _run_all(results: Results, interrupts: Interrupts) -> None:
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


def _alone(results: Results, index: int, why: str, interrupts: Interrupts) -> None:
    """Run one with its own engine, and the whole machine."""
    one, console = results.sweep.runs[index], results.console
    reason = f" (alone: {why})" if why else ""
    left = f" ({results.left})" if results.left else ""
    console.print(f"[bold]run {results.place(1)}[/]{left}: ", end="", highlight=False)
    console.out(f"{one.name}{reason}", highlight=False)
    results.begin(index)
    try:
        results.finish(index, run(one.config, [Progress(), interrupts]).run_dir)
    except FedkdError as error:
        results.fail(index, error, error.exit_code)


def _beside_one_another(results: Results, interrupts: Interrupts) -> dict[int, str]:
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
    with bar(results) as update, closing(outcomes):
        for place, outcome in outcomes:
            index = chosen[place]
            if outcome.large:
                left[index] = outcome.large
            elif outcome.run_dir is None:
                results.fail(index, outcome.error, outcome.exit_code)
            else:
                results.finish(index, outcome.run_dir)
                first, *notes = told(sweep.runs[index].name, outcome, console)
                for line in (f"{results.place()}  {first}  {results.left}".rstrip(), *notes):
                    console.out(line, highlight=False)
            update()
    return dict(sorted(left.items()))
