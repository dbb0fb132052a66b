"""The composition root: data + models + clients + strategy + engine -> `RunResult`."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from torch import nn

from ..callbacks import Callback
from ..callbacks.loggers import check_installed, loggers
from ..callbacks.recorder import KnowledgeRecorder
from ..callbacks.tables import Tables
from ..codecs.compression import Compression
from ..config import RunConfig
from ..config.trust import seal
from ..ending import ends_in_words
from ..engine import ray_ahead
from ..errors import ConfigError, FedkdError
from ..models import build
from ..rng import scoped
from ..rounds.loop import Loop
from ..rundir.before import as_it_was
from ..rundir.checkpoint import Keeper
from ..rundir.digest import Models
from ..rundir.directory import log_file, run_directory
from ..rundir.identity import identity
from ..rundir.resuming import find_checkpoint, same_split
from .executing import execute
from .objects import Objects, given_again
from .preparing import Prepared, prepare_run
from .result import RunResult

log = logging.getLogger("fedkd")

ONE_AT_A_TIME = threading.RLock()
"""Runs in threads wait for one another: random generators, signals and Ray are the process's."""


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
    report = reports() and report
    check_installed(config.log)
    where = config.resume or config.run_dir
    with ExitStack() as stack:
        stack.enter_context(ONE_AT_A_TIME)
        began = time.perf_counter()
        lent = stack.enter_context(run_directory(where, config.resume is not None))
        run_dir = lent.path
        stack.enter_context(log_file(run_dir))
        before = stack.enter_context(as_it_was(run_dir)) if config.resume else None
        checkpoint = find_checkpoint(config) if config.resume else None
        given = objects or Objects()
        with same_split(run_dir, config), given_again(config, given):
            prepared = prepare_run(
                config, run_dir, given, checkpoint, lambda e: stack.enter_context(ray_ahead(e))
            )
        seal(run_dir)
        (run_dir / "summary.json").unlink(missing_ok=True)  # it is not finished any more
        config = prepared.config
        tables = Tables(run_dir, check=lent.lock.check)
        if checkpoint is not None and checkpoint.folder is not None:
            tables.read_from(checkpoint.folder, checkpoint.files)
            if checkpoint.row is not None and checkpoint.round < config.rounds:
                tables.replace_last(checkpoint.row)
        watchers: list[Callback] = [tables, *callbacks, *loggers(config.log, run_dir)]
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
            task=parts.task,
            finishing=prepared.finishing,
            under_way=before.forget if before else lambda: None,
        )
        summary = execute(prepared, loop, tables, began)
        if report:
            _write_report(run_dir)
        rounds, clients = tables.rounds, tables.clients
        return RunResult(run_dir, summary, rounds, clients, _builder(prepared), lent.keep)


def _builder(prepared: Prepared) -> Callable[[int], nn.Module]:
    """Return what rebuilds a client's architecture, to load its final weights into."""
    models, federation = prepared.parts.models, prepared.federation
    task = prepared.config.task["name"]

    def make(client: int) -> nn.Module:
        with scoped(0):
            return build(models[client], federation.shape, prepared.outputs, task)

    return make


def reports() -> bool:
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
