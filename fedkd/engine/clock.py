"""How long an actor has been working on messages."""

import time
from dataclasses import dataclass
from typing import Any

import ray

from .journal import Chunk


@dataclass
class Clock:
    """Runs from when an actor turns to some messages, as far as the driver has seen.

    Attributes
    ----------
    chunk : Chunk
        The messages.
    turned : ObjectRef
        The result of the actor's call before them, which takes no time: it is there once whatever
        came earlier (a snapshot, other messages, a fusion block, the actor's start) is done.
    """

    chunk: Chunk
    turned: Any
    since: float | None = None

    def seconds(self) -> float:
        """Return how long it has run; never more than the truth."""
        if self.since is None and ray.wait([self.turned], timeout=0)[0]:
            self.since = time.monotonic()
        return 0.0 if self.since is None else time.monotonic() - self.since
