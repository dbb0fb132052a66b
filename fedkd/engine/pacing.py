"""Into how many chunks a phase's messages are cut."""

import time

CHUNKS, LARGEST_CHUNK = 4, 128
"""Chunks per actor and phase, and messages in one: large enough to amortise a call (a large object
costs Ray some milliseconds), small enough to show progress."""

CHUNK_SECONDS = 0.1
"""Where chunks would be shorter than this, there are fewer."""


class Pace:
    """Knows how long messages of a type took the last time.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.chunk("train.fit", 50)
    13
    >>> pace.begin("train.fit", 50)
    >>> pace.end()
    >>> pace.chunk("train.fit", 50)
    50
    """

    def __init__(self) -> None:
        self._each: dict[str, float] = {}
        self._running: tuple[str, int, float] | None = None

    def begin(self, kind: str, messages: int) -> None:
        """Note that an actor has so many messages of a type to answer, from now on."""
        self._running = kind, messages, time.monotonic()

    def end(self) -> None:
        """Note that they are answered."""
        if self._running is not None:
            kind, messages, began = self._running
            self._each[kind], self._running = (time.monotonic() - began) / messages, None

    def chunk(self, kind: str, messages: int) -> int:
        """Return how many of an actor's messages go together."""
        seconds = messages * self._each.get(kind, CHUNK_SECONDS * CHUNKS)
        chunks = min(max(1, int(seconds / CHUNK_SECONDS)), CHUNKS)
        return min(max(1, -(-messages // chunks)), LARGEST_CHUNK)
