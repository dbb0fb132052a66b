"""A process that runs one configuration after the other; `parallel` has several of them."""

import gc
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import torch
from rich.filesize import decimal
from tqdm import tqdm

from ..callbacks import Callback, RunInfo
from ..callbacks.interrupts import Interrupts
from ..callbacks.progress import duration
from ..config import RunConfig
from ..ending import contained, interrupt
from ..engine.host import keep_freed_memory, single_thread
from ..environment import set_defaults
from ..errors import FedkdError
from .estimate import Plan, plan
from .runner import run

if TYPE_CHECKING:
    from ..engine.traces import Traces


@dataclass(frozen=True)
class Limits:
    """What a run may need to be run beside others."""

    seconds: float
    """on one core"""
    memory: float
    """bytes"""

    def exceeded(self, cost: Plan) -> str:
        """Return what a run needs more of, in words; nothing if that will do."""
        if cost.seconds > self.seconds:
            return f"takes about {duration(cost.seconds)} on a core"
        memory = cost.bytes_models + cost.bytes_data + cost.bytes_knowledge
        return f"needs about {decimal(memory)}" if memory > self.memory else ""


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    run_dir: Path | None = None
    """where it is, if it has finished"""
    summary: dict[str, Any] | None = None
    """its ``summary.json``, if it has finished"""
    notes: Sequence[str] = ()
    """what the user should know of it"""
    error: str = ""
    """the line that says what went wrong, if something did"""
    exit_code: int = 0
    """the command's, for that"""
    large: str = ""
    """why it has not been run, if it is too large to be run beside others"""


def serve(pipe: Connection) -> None:
    """Run what comes until nothing comes, somebody ends the process, or a run left a trace in it.

    Parameters
    ----------
    pipe : Connection
        Brings a configuration and its `Limits` (or None); takes an `Outcome`, and what is different
        in this process now from before its first run (see `Traces`).
    """
    from ..engine.traces import Traces  # imports Ray, which who only starts this process spares

    Thread(target=_end_with_parent, daemon=True).start()
    set_defaults()
    single_thread()
    keep_freed_memory()
    _settle()
    left, before = "", Traces()
    gc.collect()
    gc.freeze()
    try:
        with suppress(KeyboardInterrupt, EOFError, OSError), Interrupts() as interrupts:
            signal.signal(signal.SIGTERM, interrupt)  # until now it has ended the process at once
            while not left:
                outcome = _outcome(interrupts, *pipe.recv())
                left = _left(before)
                pipe.send((outcome, left))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _outcome(interrupts: Interrupts, config: RunConfig, limits: Limits | None) -> Outcome:
    cost = None if limits is None else expected(config)
    if limits is not None and cost is not None and (large := limits.exceeded(cost)):
        return Outcome(large=large)
    noted = _Notes()
    try:
        result = run(config, [noted, interrupts])
    except FedkdError as error:
        return Outcome(error=str(error), exit_code=error.exit_code)
    return Outcome(result.run_dir, result.summary, noted.notes)


class _Notes(Callback):
    """Keeps what the user should know of a run."""

    notes: Sequence[str] = ()

    def on_run_start(self, run: RunInfo) -> None:
        self.notes = [str(note) for note in run.notes]


def _settle() -> None:
    """Have libraries do now what they put off until the first run: it would look like a trace."""
    for kind in (torch.optim.SGD, torch.optim.Adam):
        kind([torch.zeros(1, requires_grad=True)], lr=0.1)
    tqdm.monitor_interval = 0  # else the first bar, shown or not, starts a thread


def expected(config: RunConfig) -> Plan | None:
    """Return what a run would cost; None if it cannot start, which it says better itself."""
    try:
        with contained():
            return plan(config)
    except Exception:
        return None


def _left(before: "Traces") -> str:
    try:
        return before.left()
    except Exception as error:  # a plug-in may have broken anything
        return type(error).__name__


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, however that came."""
    if (parent := parent_process()) is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
