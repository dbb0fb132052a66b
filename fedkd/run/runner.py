"""The composition root: data + models + clients + strategy + engine -> `RunResult`."""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flwr.clientapp import ClientApp
from torch import nn

from ..atomic import write_text
from ..callbacks import Callback, RunInfo
from ..callbacks.recorder import KnowledgeRecorder
from ..callbacks.tables import Tables
from ..clients import client_app
from ..clients.side_by_side import side_by_side
from ..clients.workbench import workbench
from ..codecs.compression import Compression
from ..config import RunConfig
from ..config.trust import seal
from ..data import is_data
from ..engine import engine_class
from ..engine.spilling import spill_folder, state_factory
from ..engine.state import ClientState, ContextState
from ..environment import join_as_told
from ..errors import ConfigError, FedkdError, RunError
from ..exits import contained, ends_in_words, is_interrupt
from ..models import build, model_name
from ..rng import scoped
from ..rounds.loop import Loop
from ..rounds.protocol import Strategy
from ..rounds.work import expected_work
from ..rundir.checkpoint import Keeper
from ..rundir.digest import Models
from ..rundir.directory import log_file, run_directory
from ..rundir.identity import identity
from ..rundir.resuming import find_checkpoint, same_split
from ..rundir.summary import complete, derive
from .preparing import Objects, Prepared, prepare_run
from .result import RunResult

log = logging.getLogger("fedkd")

__all__ = ["Objects", "resume", "run", "simulate"]


def simulate(
    strategy: Any = "knfu",
    data: Any = "digits",
    model: Any = "mlp",
    *,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> RunResult:
    """Run a simulation from Python.

    Parameters
    ----------
    strategy : str, dict or Strategy
        A name (or ``FILE:Class``), ``{"name": ..., parameter: value}``, or an object.
    data : str, dict, tuple, datasets.Dataset or datasets.DatasetDict
        A name or folder, ``{"name": ..., "alpha": ...}``, arrays ``(x, y)``,
        ``(x, y, x_test, y_test)`` or ``((x, y), (x_test, y_test))`` with x ``[n, ...]`` and y
        ``[n]`` or one-hot ``[n, classes]``, a `datasets.Dataset`, or splits of them by name.
    model : str, callable, or list of them
        A name, any ``() -> nn.Module``, or a list that is dealt to the clients in turn.
    callbacks : sequence of Callback
        Observers, such as `fedkd.callbacks.progress.Progress`.
    **settings
        Everything else of the configuration: ``clients=20``, ``engine="inline"``,
        ``fit={"lr": 0.1}``, ``**{"data.alpha": 1.0}``. Without ``run_dir`` the run directory is a
        temporary one that lives as long as the result.

    Returns
    -------
    RunResult

    Raises
    ------
    ConfigError
        Before anything starts, if something given cannot be used.
    RunError
        If the run fails.

    Examples
    --------
    >>> result = simulate("fedmd", clients=4, rounds=1, engine="inline")
    >>> result.rounds.num_rows, result.summary["strategy"]
    (1, 'fedmd')
    >>> result.model(0).training
    False
    """
    from ..config.overrides import merge

    settings = {"strategy": strategy, "data": data, "model": model} | settings
    given: dict[str, Any] = {}
    if isinstance(strategy, Strategy):
        given["strategy"], settings["strategy"] = strategy, type(strategy).__name__
    elif not isinstance(strategy, str | Mapping | None):
        problem = "must be a name, a dict or a Strategy object; Flower's go in FlowerStrategy(...)"
        raise ConfigError("strategy", model_name(strategy), problem)
    if is_data(data):
        given["data"], settings["data"] = data, type(data).__name__
    models = model if isinstance(model, list | tuple) else [model]
    if not all(isinstance(one, str) for one in models):
        given["model"], settings["model"] = list(models), [model_name(one) for one in models]
    return run(merge(RunConfig(), **settings), callbacks, Objects(**given))


def resume(
    run_dir: str | Path,
    *,
    strategy: Strategy | None = None,
    data: Any = None,
    model: Any = None,
    callbacks: Sequence[Callback] = (),
    trust: bool = False,
    **settings: Any,
) -> RunResult:
    """Go on with a run from its newest intact checkpoint.

    Parameters
    ----------
    run_dir : path
        The run directory; its configuration is used.
    strategy, data, model : optional
        The Python objects that the run was made with, if it was made with objects.
    callbacks : sequence of Callback
        Observers.
    trust : bool
        Whether to execute code outside fedkd that only somebody else's directory names; your own
        runs are known without.
    **settings
        What shall differ: a larger ``rounds``, another ``engine``. Anything else needs
        ``force=True``.

    Raises
    ------
    ConfigError
        If there is no such run, its configuration differs, it names code and is not yours, or no
        checkpoint can be used.
    """
    from ..config.overrides import compose

    config = compose([f"resume={run_dir}"], trust=trust, **settings)
    return run(config, callbacks, Objects(strategy, data, model))


@ends_in_words()
def run(
    config: RunConfig,
    callbacks: Sequence[Callback] = (),
    objects: Objects | None = None,
    *,
    report: bool = True,
) -> RunResult:
    """Run a configuration and write its run directory.

    Parameters
    ----------
    config : RunConfig
        What to run.
    callbacks : sequence of Callback
        Observers, beside those that write the tables.
    objects : Objects, optional
        Python objects in place of names.
    report : bool
        Whether to write ``report.html``, which takes longer than a tiny run; with
        ``FEDKD_REPORT=0`` in the environment no run does.

    Raises
    ------
    ConfigError
        Before anything starts, if the configuration cannot be run.
    RunError
        If the run fails; the run directory says how far it came.
    """
    began = time.perf_counter()
    report = _reports() and report
    where = config.resume or config.run_dir
    with run_directory(where, config.resume is not None) as lent, log_file(lent.path):
        run_dir = lent.path
        checkpoint = find_checkpoint(config) if config.resume else None
        with same_split(run_dir, config):
            prepared = prepare_run(config, run_dir, objects or Objects(), checkpoint)
        seal(run_dir)
        (run_dir / "summary.json").unlink(missing_ok=True)  # it is not finished any more
        config = prepared.config
        tables = Tables(run_dir, check=lent.lock.check)
        if checkpoint is not None and checkpoint.folder is not None:
            tables.read_from(checkpoint.folder, checkpoint.files)
            if checkpoint.row is not None and checkpoint.round < config.rounds:
                tables.replace_last(checkpoint.row)
        watchers: list[Callback] = [tables, *callbacks]
        if config.record.knowledge:
            watchers.append(KnowledgeRecorder(run_dir))
        run_id = identity(config.to_dict(), run_dir / "split.npz")
        every = config.checkpoint.every if where else None  # a temporary run cannot be resumed
        keeper = Keeper(run_dir, every, config.rounds, tables, run_id) if every else None
        parts = prepared.parts
        loop = Loop(
            config,
            prepared.strategy,
            prepared.server,
            prepared.expect,
            watchers,
            models=Models(run_dir / "models"),
            keeper=keeper,
            resumed=checkpoint,
            compression=Compression(parts.codec, prepared.bytes_of, parts.exchange.kind),
            ledger=prepared.ledger,
            clock=prepared.clock,
        )
        summary = _watched(prepared, loop, tables, began)
        if report:
            _write_report(run_dir)
        rounds, clients = tables.rounds, tables.clients
        return RunResult(run_dir, summary, rounds, clients, _builder(prepared), lent.keep)


def _watched(prepared: Prepared, loop: Loop, tables: Tables, began: float) -> dict[str, Any]:
    """Execute; whatever happens, every watcher hears of the end."""
    summary: dict[str, Any] | None = None
    error: BaseException | None = None
    try:
        summary = _execute(prepared, loop, tables, began)
    except BaseException as caught:
        error = caught
        log.exception("the run failed")
        if isinstance(caught, FedkdError) or is_interrupt(caught):
            raise
        log_path = prepared.run_dir / "log.txt"
        raise RunError(f"{type(caught).__name__}: {caught} (details: {log_path})") from caught
    finally:
        workbench.cache_clear()
        _tell_end(loop.callbacks, summary, error)
    return summary


def _tell_end(
    watchers: Sequence[Callback], summary: dict[str, Any] | None, error: BaseException | None
) -> None:
    """Have every watcher hear of the end, also where one of them fails."""
    failure: Exception | None = None
    for watcher in watchers:
        try:
            with contained():
                watcher.on_run_end(summary, error)
        except Exception as caught:
            log.exception("%s failed at the end of the run", type(watcher).__name__)
            failure = failure or caught
    if failure is None or error is not None:
        return
    if isinstance(failure, FedkdError):
        raise failure
    raise RunError(f"{type(failure).__name__}: {failure}") from failure


def _execute(prepared: Prepared, loop: Loop, tables: Tables, began: float) -> dict[str, Any]:
    """Run the engine, keep the models and return the summary."""
    config, federation = prepared.config, prepared.federation
    sizes = [int(size) for size in federation.sizes]
    info = RunInfo(
        config=config,
        run_dir=prepared.run_dir,
        classes=federation.classes,
        sizes=sizes,
        transfer_size=federation.transfer_size,
        parameters=prepared.parameters,
        notes=prepared.notes,
    )
    for note in prepared.notes:
        log.info(note)
    for watcher in loop.callbacks:
        watcher.on_run_start(info)
    if config.engine.address:
        join_as_told()
    about = prepared.server, prepared.parts.exchange.kind, prepared.sizes
    work = expected_work(config, prepared.strategy, *about)
    engine = engine_class(config.engine.name)(_factory(prepared), work, config.engine)
    with spill_folder(prepared.run_dir):
        engine.run(loop.run)
    startup = (loop.started or began) - began
    derived = derive(config.to_dict(), tables.rounds, engine.restarts)
    seconds = time.perf_counter() - began
    tables.check()
    hashed = loop.models.finish(prepared.strategy.arrays())
    derived["privacy"] |= prepared.privacy
    summary = complete(derived, seconds=seconds, startup=startup, digest=hashed)
    write_text(prepared.run_dir / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _factory(prepared: Prepared) -> Callable[[int], ClientApp]:
    """Return what builds the ClientApp in each process; it must not drag the run along."""
    spec, parts, engine = prepared.spec, prepared.parts, prepared.config.engine
    state = _state(prepared)
    if engine.stack not in ("off", "1"):
        share = (engine.gpus_per_actor or 1.0) if engine.stack == "auto" else None
        parts = replace(parts, loop=side_by_side(parts.loop, share))
    return lambda processes: client_app(spec, state=state(processes), parts=parts)


def _state(prepared: Prepared) -> Callable[[int], ClientState]:
    """Return what makes the client state of one of several processes."""
    engine, folder = prepared.config.engine, prepared.run_dir / "state"
    if engine.name == "flower":
        return lambda processes: ContextState()
    return state_factory(engine.state_bytes, folder)


def _builder(prepared: Prepared) -> Callable[[int], nn.Module]:
    """Return what rebuilds a client's architecture, to load its final weights into."""
    models, federation = prepared.parts.models, prepared.federation

    def make(client: int) -> nn.Module:
        with scoped(0):
            return build(models[client], federation.shape, federation.classes)

    return make


def _reports() -> bool:
    """Return whether the environment lets runs write a report."""
    given = os.environ.get("FEDKD_REPORT", "1")
    if given not in ("0", "1"):
        raise ConfigError("FEDKD_REPORT", given, "must be 0 (runs write no report.html) or 1")
    return given == "1"


def _write_report(run_dir: Path) -> None:
    """Render the report; one that cannot be drawn must not cost the run."""
    from ..report import render

    try:
        render([run_dir])
    except (OSError, ValueError, FedkdError):
        log.exception("the report could not be written")
