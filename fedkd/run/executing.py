"""A prepared run under way: the engine, its clients, and those who watch."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from flwr.clientapp import ClientApp

from ..atomic import write_text
from ..callbacks import Callback, RunInfo
from ..callbacks.tables import Tables
from ..clients import client_app
from ..clients.side_by_side import side_by_side
from ..clients.workbench import workbench
from ..ending import contained, is_interrupt
from ..engine import engine_class
from ..engine.spilling import spill_folder, state_factory
from ..engine.state import ClientState, ContextState
from ..environment import join_as_told
from ..errors import FedkdError, RunError
from ..rounds.loop import Loop
from ..rounds.work import expected_work
from ..rundir.summary import complete, derive
from .preparing import Prepared

log = logging.getLogger("fedkd")


def execute(prepared: Prepared, loop: Loop, tables: Tables, began: float) -> dict[str, Any]:
    """Run the engine and return the summary; whatever happens, every watcher hears of the end."""
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
        score=prepared.parts.task.score,
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
    score = prepared.parts.task.score
    derived = derive(config.to_dict(), tables.rounds, engine.restarts, score)
    seconds = time.perf_counter() - began
    tables.write()
    hashed = loop.models.finish(prepared.strategy.arrays())
    derived["privacy"] |= prepared.privacy
    summary = complete(derived, seconds=seconds, startup=startup, digest=hashed)
    # Last of all files: a run that has it counts as finished, whoever is killed afterwards.
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
