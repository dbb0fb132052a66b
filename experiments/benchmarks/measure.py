"""Run one job in a fresh process and watch its time and memory from outside."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import psutil

from .launching import launcher, python
from .works import WORKS, Job

SAMPLE_SECONDS = 0.2
"""Pause between two looks at the memory."""


@dataclass(frozen=True)
class Measurement:
    """What one job took.

    Parameters
    ----------
    system, work : str
        Which job.
    seconds : list of float
        Of each steady round, from the end of the round before to its own end; empty if the memory
        was watched, because that takes a sixth of a core.
    cpu : float
        CPU seconds of a steady round, of all processes of the job (user and system).
    messages : int
        Clients, so messages in a phase.
    startup, first_round : float
        Seconds from the start of the process to the first round, and of the first round.
    pss_mb : float or None
        Peak proportional set size of the process and all below it up to the end of the last steady
        round, in 10^6 bytes; None if it was not watched.
    phases : dict
        Median seconds of the steady rounds' phases, where the system knows them.
    loss : float or None
        Mean cross-entropy of the first client's final model on its own samples, where the system
        tells it: systems that do the same work have the same.
    run_seconds : float or None
        Of a work that is a whole run: from the start of its process to the end of it.
    later_seconds : float or None
        Of a sweep: from the end of its first run to the end of all, for each later run.
    tested : list of int or None
        Of a whole run: test samples that each model was measured on, round by round.
    error : str or None
        Why there are no numbers.
    """

    system: str
    work: str
    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0
    messages: int = 0
    startup: float = 0.0
    first_round: float = 0.0
    pss_mb: float | None = None
    phases: dict[str, float] = field(default_factory=dict)
    loss: float | None = None
    run_seconds: float | None = None
    later_seconds: float | None = None
    tested: list[int] | None = None
    error: str | None = None

    @property
    def round_seconds(self) -> float:
        """Median seconds of a steady round."""
        return median(self.seconds)

    @property
    def message_ms(self) -> float | None:
        """Milliseconds of the fit phase for each of its messages, if the phase is known."""
        return 1e3 * self.phases["fit"] / self.messages if "fit" in self.phases else None


@dataclass(frozen=True)
class Observation:
    """A job's process, seen from outside: what it told, or why it did not."""

    launched: float
    ended: float
    samples: list[tuple[float, int]]
    told: dict[str, Any] | None = None
    error: str | None = None

    def peak(self, until: float) -> int:
        """Return the largest memory seen up to then, in bytes."""
        return max((size for at, size in self.samples if at <= until), default=0)


def observe(job: Job, timeout: float, environment: dict[str, str] | None = None) -> Observation:
    """Run a job alone in a fresh process and return what it says; see `measure`."""
    with TemporaryDirectory(prefix="fedkd-bench-") as folder:
        result, log = Path(folder) / "result.json", Path(folder) / "log.txt"
        launched = time.monotonic()
        with log.open("w") as file, _process(job, result, file, environment or {}) as process:
            samples = _watch(process, launched + timeout, job.memory)
            late, ended = process.poll() is None, time.monotonic()
        seen = partial(Observation, launched, ended, samples)
        if late:
            return seen(error=f"no result after {timeout:g} s")
        if process.returncode == -signal.SIGKILL:
            return seen(error="killed, as when memory runs out")
        if process.returncode != 0:
            return seen(error=_last_line(log))
        return seen(json.loads(result.read_text()))


def measure(job: Job, timeout: float, environment: dict[str, str] | None = None) -> Measurement:
    """Run a job alone in a fresh process.

    Parameters
    ----------
    job : Job
        What to run.
    timeout : float
        Seconds after which the process and all below it are killed.
    environment : dict, optional
        Environment variables to set besides this process's own.

    Returns
    -------
    Measurement
        With `Measurement.error` if the job failed or took too long.
    """
    if not python(job.system).exists():
        problem = f"{python(job.system)} is missing; see what make bench-peers said about it"
        return Measurement(job.system, job.work, error=problem)
    seen = observe(job, timeout, environment)
    if seen.told is None:
        return Measurement(job.system, job.work, error=seen.error)
    told, ends = seen.told, seen.told["ends"]
    if job.memory:
        return Measurement(job.system, job.work, pss_mb=seen.peak(ends[-1]) / 1e6)
    whole = WORKS[job.work].whole
    return Measurement(
        job.system,
        job.work,
        run_seconds=seen.ended - seen.launched if whole else None,
        later_seconds=told.get("later"),
        tested=told.get("tested"),
        seconds=[after - before for before, after in pairwise(ends)],
        cpu=told["cpu"],
        messages=job.sizes.clients,
        startup=told["began"] - seen.launched,
        first_round=ends[0] - told["began"],
        phases=told["phases"],
        loss=told["loss"],
    )


@contextmanager
def _process(
    job: Job, result: Path, log: TextIO, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the job's process; nothing of it is left when the block ends."""
    command = [*launcher(job), "-m", f"{__package__}.child", json.dumps(asdict(job)), str(result)]
    # Without an address, Ray joins a cluster that it finds on the machine.
    outer = os.environ | {"RAY_ADDRESS": "local"}
    with subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, env=outer | environment
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for one in _tree(process.pid):
                    with _maybe_gone():
                        one.kill()


def _watch(
    process: subprocess.Popen[bytes], deadline: float, memory: bool
) -> list[tuple[float, int]]:
    """Wait until the process ends or is late; return (time, PSS in bytes) if `memory`."""
    samples = []
    while process.poll() is None and time.monotonic() < deadline:
        if memory:
            samples.append((time.monotonic(), sum(map(_pss, _tree(process.pid)))))
        with suppress(subprocess.TimeoutExpired):
            process.wait(SAMPLE_SECONDS)
    return samples


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _pss(process: psutil.Process) -> int:
    with _maybe_gone():
        info = process.memory_full_info()
        return int(getattr(info, "pss", info.uss))  # only Linux has it
    return 0


@contextmanager
def _maybe_gone() -> Iterator[None]:
    try:
        yield
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "ended without a word"
