"""Reads what a long run might leak: memory, file descriptors, actors."""

import ctypes
import gc
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import psutil
import pyarrow as pa

from ...callbacks import Callback, RoundRecord

TABLE_ROW_BYTES = 20
"""What `fedkd.callbacks.tables.Tables` keeps in memory for each row of clients.parquet."""


@dataclass(frozen=True)
class Reading:
    """What was there after a round.

    Parameters
    ----------
    round : int
        The round.
    memory : dict
        Bytes by owner: ``driver`` (without the tables), ``actor 0``, ..., ``object store``.
    counts : dict
        File descriptors by owner, ``actors``, and ``threads`` of the driver.
    """

    round: int
    memory: dict[str, float]
    counts: dict[str, int]


class Gauge(Callback):
    """Takes readings of this process and its Ray actors while a run goes on.

    Memory is what a process has for itself (USS). The tables of a run grow by design, in the
    driver; what they take is subtracted.

    Parameters
    ----------
    every : int
        Rounds between readings.
    """

    def __init__(self, every: int = 5) -> None:
        self.every = every
        self.readings: list[Reading] = []
        self._tables = 0.0

    def on_round(self, record: RoundRecord) -> None:
        """Take a reading, if it is time."""
        self._tables += TABLE_ROW_BYTES * len(record.clients)
        if record.weights is not None:
            clients, weights = record.weights
            self._tables += 4 * (len(clients) + weights.numel())
        if record.round % self.every == 0:
            self.readings.append(self.read(record.round))

    def read(self, round_: int) -> Reading:
        """Return what is there now."""
        release()
        driver, actors = psutil.Process(), actor_processes()
        owners = {"driver": driver} | {f"actor {i}": one for i, one in enumerate(actors)}
        memory = {name: float(one.memory_full_info().uss) for name, one in owners.items()}
        memory["driver"] -= self._tables
        counts = {f"{name} files": one.num_fds() for name, one in owners.items()}
        counts |= {"actors": len(actors), "threads": driver.num_threads()}
        return Reading(round_, memory | {"object store": object_store_bytes()}, counts)


def release() -> None:
    """Give back what this process holds of memory that it no longer uses.

    Garbage, and what the allocators keep for later, come and go by megabytes and are no leak.
    """
    gc.collect()
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)


def actor_processes() -> list[psutil.Process]:
    """Return the Ray actors below this process, oldest first."""
    below = psutil.Process().children(recursive=True)
    return sorted((one for one in below if _is_actor(one)), key=lambda one: one.pid)


def _is_actor(process: psutil.Process) -> bool:
    try:
        return bool(process.cmdline()) and process.cmdline()[0].startswith("ray::Actor")
    except psutil.Error:
        return False


def object_store_bytes() -> float:
    """Return what is in use of Ray's object store."""
    import ray

    key = "object_store_memory"
    return float(ray.cluster_resources()[key] - ray.available_resources().get(key, 0.0))


def slopes(readings: Sequence[Reading], after: int) -> dict[str, float]:
    """Return each owner's growth per 100 rounds, as a share of its mean memory.

    The slope of the line through the readings after round `after` (least squares). The object
    store, which may well be empty, is compared with the driver's memory.

    Examples
    --------
    >>> some = [Reading(n, {"driver": 100.0 + n}, {}) for n in (10, 50, 100, 150)]
    >>> {name: round(share, 9) for name, share in slopes(some, after=20).items()}
    {'driver': 0.5}
    """
    late = [reading for reading in readings if reading.round > after]
    rounds = np.array([reading.round for reading in late], float)
    driver = np.mean([reading.memory["driver"] for reading in late])
    found = {}
    for name in late[0].memory:
        values = np.array([reading.memory[name] for reading in late])
        scale = driver if name == "object store" else values.mean()
        found[name] = float(np.polyfit(rounds, values, 1)[0] * 100 / scale)
    return found


def grown(readings: Sequence[Reading], after: int) -> dict[str, tuple[int, int]]:
    """Return the counts that are higher at the end than ever in the first half after round `after`.

    The end is the last quarter: what is there at one reading only, a file or a socket that Ray
    opens and closes, is no leak.

    Examples
    --------
    >>> some = [Reading(n, {}, {"files": n, "actors": 2}) for n in (1, 2, 3, 4, 5, 6)]
    >>> grown(some, after=1)
    {'files': (3, 6)}
    >>> once = [Reading(n, {}, {"files": 5 + (n == 99)}) for n in range(100)]
    >>> grown(once, after=20)
    {}
    """
    late = [reading.counts for reading in readings if reading.round > after]
    half, quarter = max(1, len(late) // 2), max(1, len(late) // 4)
    before = {name: max(counts[name] for counts in late[:half]) for name in late[0]}
    end = {name: min(counts[name] for counts in late[-quarter:]) for name in late[0]}
    return {name: (most, end[name]) for name, most in before.items() if end[name] > most}
