"""Actors die, the run does not: what brings clients back after their actor is gone.

Between rounds each actor leaves a snapshot of its clients in Ray's object store, in parts, where it
outlives the actor; the driver keeps the messages sent since, there too. A replacement starts from
the snapshot and handles those messages again. Random streams are drawn by client, round and phase,
so it arrives at exactly the models that were lost. Clients that moved since move again.

What is in the object store is on one machine, and may be on disk where memory is short. Where there
are several machines, the driver copies snapshots to its own.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import ray
from flwr.app import Message
from ray.exceptions import (
    GetTimeoutError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
)

from ..knowledge.payload import payload_bytes
from .clock import Clock
from .cluster import nodes
from .journal import Arrival, Chunk, Departure, Entry

DEATHS = (RayActorError, OutOfMemoryError, ObjectLostError)
"""What Ray raises for a call whose actor, or machine, is gone."""

PATIENCE_SECONDS = 30.0
"""How long an unreachable actor may stay so before it counts as dead."""

SHARE = 0.01
"""Part of the time that snapshots may take. Where rounds are long, every round has one; where they
are so short that it would be felt, a replacement has some more rounds to catch up on."""

MAX_ROUNDS = 20
"""Rounds after which there is a snapshot whatever it costs: it bounds what the driver keeps."""

SMALL = 2**16
"""Bytes of arrays up to which messages travel with the call: an object of its own costs more."""

PART = 64
"""Clients in one part of a snapshot, or that move at once."""

READS = ("query.hello", "query.snapshot")
"""Messages that change nothing at a client."""

UNLIMITED = (*READS, "query.restore")
"""Messages that ``engine.timeout`` does not hold for: they are fedkd's own work, not a client's."""


def fetch(reference: Any, timeout: float | None = None) -> Any:
    """Return a call's result; what the call raised is raised as it was there."""
    try:
        return ray.get(reference, timeout=timeout)
    except RayTaskError as error:
        raise error.cause from error


@dataclass(frozen=True)
class Snapshot:
    """What clients remember: references to parts of it, and who they are.

    Attributes
    ----------
    parts : list of ObjectRef
        None = as before the first round.
    clients : list of int
        The clients.
    done : ObjectRef
        The seconds it took, once all parts exist.
    logged : int
        Entries of the log before it.
    elsewhere : bool
        Whether it may be on another machine.
    """

    parts: list[Any]
    clients: list[int]
    done: Any = None
    logged: int = 0
    elsewhere: bool = False


class Home:
    """Where some clients live: on one actor after the other, should actors die.

    Parameters
    ----------
    clients : list of int
        The clients, largest first.
    actor : ray.actor.ActorHandle
        The first actor.
    job : ObjectRef
        What an actor is told when it begins.
    timeout : float or None
        ``engine.timeout``.

    Attributes
    ----------
    running : dict
        References to the calls whose result is not here yet, and the clocks of limited messages.
    """

    def __init__(
        self, clients: list[int], actor: Any, job: Any, timeout: float | None = None
    ) -> None:
        self.clients, self.job, self.timeout = clients, job, timeout
        self.running: dict[Any, Clock | None] = {}
        self._snapshot = Snapshot([], list(clients))
        self._log: list[Entry] = []  # since the snapshot
        self._missing: set[str] = set()  # ids of the messages without a reply
        self._asked: Snapshot | None = None
        self._cost = 0.0  # seconds that the last snapshot took
        self._since = time.monotonic()
        self._rounds = 0
        self.move(actor)

    @property
    def busy(self) -> bool:
        """Whether there are messages without a reply."""
        return bool(self._missing)

    def send(self, chunk: list[Message]) -> None:
        """Let the actor answer messages."""
        ids = frozenset(message.metadata.message_id for message in chunk)
        types = {message.metadata.message_type for message in chunk}
        small = sum(payload_bytes(message.content) for message in chunk) <= SMALL
        limited = not types <= set(UNLIMITED)
        sent = Chunk(chunk if small else ray.put(chunk), ids, types <= set(READS), limited)
        self._log.append(sent)
        self._missing |= ids
        clock = self._clock(sent)
        self.running[self.actor.handle.remote(sent.messages)] = clock

    def _clock(self, entry: Entry) -> Clock | None:
        """Have the actor say when it turns to messages that have a limit and no reply yet."""
        if (
            self.timeout
            and isinstance(entry, Chunk)
            and entry.limited
            and entry.ids & self._missing
        ):
            return Clock(entry, self.actor.pid.remote())
        return None

    def overdue(self) -> Chunk | None:
        """Return the messages that the actor has been working on for longer than it may."""
        timed = ((call, clock) for call, clock in self.running.items() if clock is not None)
        call, clock = next(timed, (None, None))
        if clock is None or self.timeout is None or clock.seconds() <= self.timeout:
            return None
        return None if ray.wait([call], timeout=0)[0] else clock.chunk

    def skip(self, chunk: Chunk) -> None:
        """Let messages be: nobody answers them, and a replacement does not get them again."""
        nothing = Chunk([], frozenset(), reads=True)  # the snapshot counts entries
        self._log = [nothing if entry is chunk else entry for entry in self._log]
        self._missing -= chunk.ids

    def receive(self, reference: Any) -> list[Message]:
        """Return the replies that a finished call brought, without those that are here already."""
        replies: list[Message] = fetch(reference)
        del self.running[reference]
        self._settle()
        new = [one for one in replies if one.metadata.reply_to_message_id in self._missing]
        self._missing.difference_update(one.metadata.reply_to_message_id for one in new)
        return new

    def keep(self) -> None:
        """Before a round: ask for a snapshot, without waiting for it, if one is due."""
        self._settle()
        self._rounds += 1
        if self._asked is None and self._due():
            count = -(-len(self.clients) // PART) + 1
            *parts, done = self.actor.snapshot.options(num_returns=count).remote(PART)
            elsewhere = len(nodes()) > 1
            self._asked = Snapshot(parts, list(self.clients), done, len(self._log), elsewhere)
            self._since, self._rounds = time.monotonic(), 0

    def _due(self) -> bool:
        changed = any(not entry.reads for entry in self._log)
        elapsed = time.monotonic() - self._since
        return changed and (elapsed * SHARE >= self._cost or self._rounds >= MAX_ROUNDS)

    def _settle(self, timeout: float = 0.0) -> None:
        """Let a new snapshot take the old one's place, once it is certain to exist."""
        if self._asked is None:
            return
        asked = self._asked
        try:
            self._cost = fetch(asked.done, timeout)
            if asked.elsewhere:  # perhaps on a machine that has died since: then this says so
                asked = replace(asked, parts=[ray.put(fetch(part)) for part in asked.parts])
        except GetTimeoutError:
            return
        except DEATHS:
            self._asked = None  # it died over it: the next call to it will say so
            return
        self._snapshot, self._asked = asked, None
        del self._log[: asked.logged]

    def give(self, clients: list[int]) -> Any:
        """Let clients go; return a reference to all that they remember, on this machine.

        No message may be without its reply. If the actor dies over it, they stay.
        """
        memory, done = self.actor.give.options(num_returns=2).remote(clients)
        fetch(done)
        self._log.append(Departure(clients))
        gone = set(clients)
        self.clients = [client for client in self.clients if client not in gone]
        return memory

    def take(self, clients: list[int], memory: Any) -> None:
        """Host clients that another home gave away."""
        came = Arrival(memory)
        self._log.append(came)
        self.clients = [*self.clients, *clients]
        self.running[came.again(self.actor, self._missing)] = None

    def move(self, actor: Any) -> None:
        """Continue on an actor (also the same one, if nobody knows what it has handled)."""
        self._settle(PATIENCE_SECONDS)
        self._asked, self.actor = None, actor
        self.running = {actor.rewind.remote(self._snapshot.clients, self.job): None}
        self.running |= dict.fromkeys(actor.restore.remote(part) for part in self._snapshot.parts)
        for entry in self._log:
            clock = self._clock(entry)
            self.running[entry.again(actor, self._missing)] = clock
