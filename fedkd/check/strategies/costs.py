"""What fusion costs, for 100 clients and for 1,000."""

import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from rich.filesize import decimal

from ...engine.base import InlineBlocks
from ...strategies.fusing import fuse_in_blocks
from ..promises import Broken
from .subject import Subject

SAMPLES = 1000
"""Transfer samples; there are ten classes."""

ROOM = 4 * 2**30
"""Bytes beyond which a fusion is not tried."""


def scales(subject: Subject) -> str:
    """Fuse for more and more clients, as long as that is sensible."""
    told: list[str] = []
    seconds, peak, before = 0.0, 0, 0
    for clients in subject.sizes:
        growth = clients / before if before else 0.0
        if growth * seconds > subject.seconds:
            told.append(f"{clients} clients not tried: at least {growth * seconds:.2g} s")
            break
        if growth**2 * peak > ROOM:  # some look at all pairs of clients
            told.append(f"{clients} clients not tried: up to {decimal(int(growth**2 * peak))}")
            break
        strategy = subject.fusion()
        stack = subject.stack(strategy, range(clients), SAMPLES)
        seconds, peak = _measured(partial(fuse_in_blocks, strategy, stack, InlineBlocks()))
        told.append(f"{clients} clients {seconds:.2f} s, {decimal(peak)} beside the input")
        if seconds > subject.seconds:
            raise Broken(f"{'; '.join(told)}: more than {subject.seconds:g} s")
        before = clients
    return "; ".join(told)


def _measured(work: Callable[[], object]) -> tuple[float, int]:
    """Return CPU seconds, and how much the memory in use went up at most, in bytes."""
    started, before = time.process_time(), reset_peak()
    work()
    return time.process_time() - started, max(0, peak() - before)


def reset_peak() -> int:
    """Let the peak count from now, where the system can do that; return it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
