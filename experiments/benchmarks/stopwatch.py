"""When rounds end, and how much the processors worked for them."""

import os
import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import psutil


class Stopwatch:
    """Notes the ends of a warm-up round and of the steady rounds that follow it.

    Parameters
    ----------
    rounds : int
        Steady rounds; what is noted of later ones does not count.

    Attributes
    ----------
    began : float
        `time.monotonic` at the start of the first round.
    ends : list of float
        The same at the end of each round that counts.
    """

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.began = time.monotonic()
        self.ends: list[float] = []
        self._cpu: list[float] = []

    def start(self) -> None:
        """Note that the first round begins."""
        self.began = time.monotonic()

    def lap(self) -> None:
        """Note that a round has ended."""
        if len(self.ends) > self.rounds:
            return
        self.ends.append(time.monotonic())
        # Looking takes some milliseconds of the round that follows: only where it has to be.
        if len(self.ends) in {1, self.rounds + 1}:
            self._cpu.append(cpu_seconds())

    def told(
        self, *, phases: Mapping[str, float] | None = None, loss: float | None = None
    ) -> dict[str, Any]:
        """Return what a job's process tells the one that watches it, JSON-ready.

        Parameters
        ----------
        phases : mapping, optional
            Median seconds of the steady rounds' phases.
        loss : float, optional
            Mean cross-entropy of the first client's final model on its own samples.
        """
        return {
            "began": self.began,
            "ends": self.ends,
            "cpu": (self._cpu[-1] - self._cpu[0]) / self.rounds,
            "phases": dict(phases or {}),
            "loss": loss,
        }

    @property
    def seconds(self) -> list[float]:
        """Seconds of each steady round."""
        return [after - before for before, after in pairwise(self.ends)]


def cpu_seconds() -> float:
    """Return the CPU seconds that this job's processes have used so far, user and system.

    A process that ended is counted by the parent that waited for it, so the sum never shrinks.

    Examples
    --------
    >>> 0 < cpu_seconds() <= cpu_seconds()
    True
    """
    # torchrun is above the processes that it starts
    root = psutil.Process(os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else os.getpid())
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += sum(process.cpu_times()[:4])  # own user and system, ended children's
        except psutil.Error:
            continue
    return total
