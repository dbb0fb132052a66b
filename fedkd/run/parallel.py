"""Several runs at once: a process each, on one core, that is used again for the next run.

A process that dies is one run's failure. Nothing of a run reaches the next: a process in which one
has left a trace is not used again.
"""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from threading import current_thread, main_thread
from types import ModuleType
from typing import Any

from ..config import RunConfig
from .worker import Limits, Outcome, serve

SMALL_SECONDS = 600.0
"""What a small run takes on one core, at most."""

PROCESS_BYTES = 1e9
"""What a process takes for its libraries, and for a model in training."""

GRACE_SECONDS = 20.0
"""How long a run that is told to end may take to leave a directory that can be read."""


class _Worker:
    """A process, and the pipe to it."""

    def __init__(self) -> None:
        spawn = get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs,))
        with _surroundings(), _whole(), no_script():
            self.process.start()
        theirs.close()

    def give(self, config: RunConfig, limits: Limits | None) -> None:
        with suppress(OSError):  # it has died: `answer` says so
            self.pipe.send((config, limits))

    def answer(self) -> tuple[Outcome, str]:
        """Return what became of the run, and what it has left in the process."""
        try:
            outcome, left = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            problem = f"{_death(self.process.exitcode)}; the other runs go on"
            return Outcome(error=problem, exit_code=1), "death"
        return outcome, left


def parallel(
    configs: Sequence[RunConfig],
    at_once: int,
    limits: Limits | None = None,
    check: Callable[[], None] = lambda: None,
    begin: Callable[[int], None] = lambda index: None,
) -> Generator[tuple[int, Outcome], None, None]:
    """Run configurations, so many at once; yield the index of each and what became of it.

    Parameters
    ----------
    configs : sequence of RunConfig
        Runs with ``engine=inline``, which do their work in one thread.
    at_once : int
        Processes, at least 1.
    limits : Limits, optional
        What a run may need, at most; larger ones are not run.
    check : callable
        Called about once a second; what it raises ends all.
    begin : callable
        Called with a run's index before it is given to a process.
    """
    waiting = deque(enumerate(configs))
    busy: dict[Any, tuple[_Worker, int]] = {}
    idle: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < at_once:
                worker = idle.pop() if idle else _Worker()
                index, config = waiting.popleft()
                begin(index)
                busy[worker.pipe] = worker, index
                worker.give(config, limits)
            for pipe in wait(list(busy), timeout=1.0):
                worker, index = busy.pop(pipe)
                outcome, left = worker.answer()
                idle += [] if left else [worker]
                if left:
                    _end([worker], 1.0)  # the run is on disk, and what it left may never end
                yield index, outcome
            check()
    except BaseException:
        for worker, _ in busy.values():
            worker.process.terminate()
        raise
    finally:
        _end([*idle, *(worker for worker, _ in busy.values())], GRACE_SECONDS)


def memory_each(at_once: int) -> float:
    """Return the bytes that each of some runs at once may take beside its process.

    All together may have half of what this machine, or this container, has.
    """
    found = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    with suppress(OSError, ValueError):  # no such file, or "max"
        found.append(float(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found) / 2 / at_once - PROCESS_BYTES


def _death(code: int | None) -> str:
    """Return how a process has ended, in words."""
    if code == -signal.SIGKILL:
        return "its process was killed, as it is where memory runs out (lower study.parallel)"
    how = f"by {signal.Signals(-code).name}" if code and code < 0 else f"with exit code {code}"
    return f"its process ended {how} in the middle of the run"


def _end(workers: Sequence[_Worker], seconds: float) -> None:
    """Have processes end, which those do that run nothing or are told to; or kill them."""
    for worker in workers:
        worker.pipe.close()
    until = time.monotonic() + seconds
    try:
        for worker in workers:
            worker.process.join(max(0.0, until - time.monotonic()))
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


@contextmanager
def _whole() -> Iterator[None]:
    """Have SIGTERM wait: a process that is told half of what it shall do ends in a traceback.

    To block it, as `_surroundings` does with others, would block it in that process for good.
    """
    if current_thread() is not main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:
            signal.raise_signal(signal.SIGTERM)


@contextmanager
def no_script() -> Iterator[None]:
    """Have a process that starts here not execute the script that called: it needs nothing of it.

    It would begin a study of its own where that has no ``if __name__ == "__main__"``.
    """
    before, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


@contextmanager
def _surroundings() -> Iterator[None]:
    """Have a process that starts here compute in one thread, and leave Ctrl-C to this one."""
    ours = {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}
    threads = os.environ.get("OMP_NUM_THREADS")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ours)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
