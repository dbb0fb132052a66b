"""A study: every combination of several settings, each in a folder of its own, compared.

It may be interrupted at any time: called again, it does what is left to do.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ...callbacks import Callback
from ...callbacks.interrupts import Interrupts
from ...config.definition import FILE, Definition
from ...config.study import StudyConfig
from ...config.trust import outside, seal
from ...engine import shared_ray
from ...errors import ConfigError, FedkdError
from ...plugins.table import SEAMS
from ...rundir.locking import locked
from ...rundir.study import StudyFolder
from ..foreseeing import foresee
from ..objects import Objects
from ..parallel import parallel
from ..runner import run
from .dealing import Run, Sweep, dealt, spanned
from .freezing import frozen
from .planning import Step, steps
from .results import Results, announced
from .telling import Teller


class Uninterrupted(Callback):
    """Stands for `Interrupts` outside the main thread, where Python hears of no signal."""

    def check(self) -> None:
        """Do nothing."""


def run_study(
    study: Definition,
    folder: Path,
    teller: Teller,
    interrupts: Interrupts | Uninterrupted,
    retry: bool = False,
    freeze: bool = False,
) -> Results:
    """Run what is left of a study; a run that fails does not stop the others.

    Parameters
    ----------
    study : Definition
        What it is.
    folder : Path
        Where it is, or will be.
    teller : Teller
        Who is told how far it is.
    interrupts : Interrupts
        What ends it; entered.
    retry : bool
        Whether runs that have failed are run again.
    freeze : bool
        Whether to write ``manifest.json`` before the first run.
    """
    how, runs = spanned(study.overrides)
    with ExitStack() as stack:
        if any(one.config.resume for one in runs):
            results = _resumed(dealt(how, runs), folder)
        else:
            stack.enter_context(_held(folder))
            results = _begun(study, how, runs, folder, retry, freeze)
            teller.say(f"study {folder}: {announced(results.steps)}")
        _run_all(results, teller, interrupts)
        teller.done(results)
    return results


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
    return Results(todo, replace(sweep, runs=inside), None)


def _begun(
    study: Definition,
    how: StudyConfig,
    runs: Sequence[Run],
    path: Path,
    retry: bool,
    freeze: bool,
) -> Results:
    """Return what is left of a study, written into its folder before it goes on."""
    folder = StudyFolder(path)
    known = steps(folder, runs, study, retry)
    for step in known:
        if step.state == "waiting":
            step.asked.check()
            SEAMS["strategies"].create(step.asked.strategy)
            foresee(step.asked, Objects())  # a misspelt name is not to be found in the morning
    sweep = dealt(how, [step.run for step in known if step.state in ("begun", "waiting")])
    manifest = frozen(folder, known, study, freeze)
    folder.at_once = sweep.at_once
    study.write(path)
    seal(path, [FILE], [*outside([step.asked.to_dict() for step in known])])
    folder.write()
    if manifest is not None:
        manifest.write(path)
    return Results(known, sweep, folder)


def _run_all(results: Results, teller: Teller, interrupts: Interrupts | Uninterrupted) -> None:
    """Run what is left: some side by side, the others alone after them."""
    runs = results.sweep.runs
    with ExitStack() as stack:
        left = _beside_one_another(results, teller, interrupts)
        on_ray = [runs[i].config.engine for i in left]
        on_ray = [engine for engine in on_ray if engine.name != "inline"]
        if len({engine.address for engine in on_ray}) == 1:
            stack.enter_context(shared_ray(on_ray[0]))
        for index, why in left.items():
            teller.alone(results, results.sweep.runs[index].name, why)
            _alone(results, index, teller, interrupts)


def _alone(
    results: Results, index: int, teller: Teller, interrupts: Interrupts | Uninterrupted
) -> None:
    """Run one with its own engine, and the whole machine."""
    one = results.sweep.runs[index]
    results.begin(index)
    try:
        results.finish(index, run(one.config, [*teller.observers(), interrupts]).run_dir)
    except FedkdError as error:
        _failed(results, index, teller, error, error.exit_code)


def _failed(results: Results, index: int, teller: Teller, error: object, code: int) -> None:
    """Note that a run has failed, and say why."""
    results.fail(index, error, code)
    teller.say(f"failed: {results.sweep.runs[index].name}: {error}")


def _beside_one_another(
    results: Results, teller: Teller, interrupts: Interrupts | Uninterrupted
) -> dict[int, str]:
    """Run what may be run so; return the other runs, and why they are run alone."""
    sweep = results.sweep
    chosen = sweep.beside()
    left = {i: one.alone for i, one in enumerate(sweep.runs) if i not in chosen}
    if not chosen:
        return left

    configs = [sweep.runs[i].inline for i in chosen]
    teller.say(f"{len(chosen)} runs, {sweep.at_once} at a time")
    outcomes = parallel(
        configs, sweep.at_once, sweep.limits, interrupts.check, lambda i: results.begin(chosen[i])
    )
    with teller.beside(results) as update, closing(outcomes):
        for place, outcome in outcomes:
            index = chosen[place]
            if outcome.large:
                left[index] = outcome.large
            elif outcome.run_dir is None:
                _failed(results, index, teller, outcome.error, outcome.exit_code)
            else:
                results.finish(index, outcome.run_dir)
                teller.finished(results, sweep.runs[index].name, outcome)
            update()
    return dict(sorted(left.items()))
