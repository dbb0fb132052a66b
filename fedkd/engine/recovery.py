"""Actors die, the run does not: what brings clients back after their actor is gone.

Before the first message of a round each actor leaves a snapshot of its clients in Ray's object
store, where it outlives the actor; the driver keeps the messages sent since. A replacement starts
from the snapshot and handles those messages again. Random streams are drawn by client, round and
phase, so it arrives at exactly the models that were lost.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ray
from flwr.app import Message
from ray.exceptions import (
    ActorUnavailableError,
    GetTimeoutError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
)

from ..errors import RunError

log = logging.getLogger("fedkd")

DEATHS = (RayActorError, OutOfMemoryError)
"""What Ray raises for a call whose actor is gone."""

PATIENCE_SECONDS = 30.0
"""How long an unreachable actor may stay so before it counts as dead."""

READS = ("query.hello", "query.snapshot")
"""Messages that change nothing at a client."""

OUT_OF_MEMORY = "out of memory; lower engine.actors or fit.batch_size, or simulate fewer clients"


def fetch(reference: Any, timeout: float | None = None) -> Any:
    """Return a call's result; what the call raised is raised as it was there."""
    try:
        return ray.get(reference, timeout=timeout)
    except RayTaskError as error:
        raise error.cause from error


class Home:
    """Where some clients live: on one actor after the other, should actors die.

    Parameters
    ----------
    clients : list of int
        The clients, largest first.
    actor : ray.actor.ActorHandle
        The first actor.

    Attributes
    ----------
    running : dict
        References to the calls whose result is not here yet.
    """

    def __init__(self, clients: list[int], actor: Any) -> None:
        self.clients = clients
        self._snapshot: Any = None  # reference; None = as before the first round
        self._log: list[list[Message]] = []  # chunks since the snapshot
        self._missing: set[str] = set()  # ids of the messages without a reply
        self._asked: tuple[Any, Any, int] | None = None
        self.move(actor)

    def send(self, chunk: list[Message]) -> None:
        """Let the actor answer messages."""
        self._log.append(chunk)
        self._missing.update(message.metadata.message_id for message in chunk)
        self.running[self.actor.handle.remote(chunk)] = None

    def receive(self, reference: Any) -> list[Message]:
        """Return the replies that a finished call brought, without those that are here already."""
        replies: list[Message] = fetch(reference)
        del self.running[reference]
        self._settle()
        new = [one for one in replies if one.metadata.reply_to_message_id in self._missing]
        self._missing.difference_update(one.metadata.reply_to_message_id for one in new)
        return new

    def keep(self) -> None:
        """Ask for a snapshot, without waiting for it, if the clients changed since the last."""
        self._settle()
        changed = any(m.metadata.message_type not in READS for chunk in self._log for m in chunk)
        if changed and self._asked is None:
            self._asked = (*self.actor.snapshot.remote(), len(self._log))

    def _settle(self, timeout: float = 0.0) -> None:
        """Let a new snapshot take the old one's place, once it is certain to exist."""
        if self._asked is None:
            return
        done, snapshot, logged = self._asked
        try:
            fetch(done, timeout)
        except GetTimeoutError:
            return
        except DEATHS:
            self._asked = None  # it died over it: the next call to it will say so
            return
        self._snapshot, self._asked = snapshot, None
        del self._log[:logged]

    def move(self, actor: Any) -> None:
        """Continue on an actor (also the same one, if nobody knows what it has handled)."""
        self._settle(PATIENCE_SECONDS)
        self._asked, self.actor = None, actor
        self.running = {actor.rewind.remote(self._snapshot): None}
        for chunk in self._log:
            wanted = self._missing.intersection(m.metadata.message_id for m in chunk)
            self.running[actor.handle.remote(chunk, wanted)] = None


class Pool:
    """All homes of a run; gives them new actors.

    Parameters
    ----------
    spawn : callable
        Starts an actor for some clients.
    placed : sequence of list of int
        The clients of each home.
    max_restarts : int
        Deaths that the run survives, 0 or more.
    """

    def __init__(
        self,
        spawn: Callable[[list[int]], Any],
        placed: Iterable[list[int]],
        max_restarts: int,
    ) -> None:
        self.spawn, self.max_restarts, self.restarts = spawn, max_restarts, 0
        self.homes: Sequence[Home] = [Home(clients, spawn(clients)) for clients in placed]

    def recover(self, home: Home, actor: Any, error: Exception) -> None:
        """Bring a home's clients back after a call to its `actor` failed.

        Raises
        ------
        RunError
            If that was one death too many.
        """
        if actor is not home.actor:
            return  # another call to the same actor has seen to it
        if isinstance(error, ActorUnavailableError) and responds(actor):
            home.move(actor)
            return
        cause = _cause(error)
        if getattr(error, "actor_init_failed", False):
            raise RunError(f"an actor could not start: {cause}") from error
        if self.restarts >= self.max_restarts:
            reached = f"after {self.restarts} restarts (engine.max_restarts={self.max_restarts})"
            raise RunError(f"an actor died {reached}: {cause}") from error
        self.restarts += 1
        log.warning("restart %d of %d: %s", self.restarts, self.max_restarts, cause)
        ray.kill(actor)  # one that is only out of reach must not come back
        home.move(self.spawn(home.clients))

    def end(self) -> None:
        """End all actors."""
        for home in self.homes:
            ray.kill(home.actor)


def responds(actor: Any) -> bool:
    """Tell whether an actor that could not be reached can be reached again before long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        try:
            ray.get(actor.pid.remote(), timeout=left)
        except ActorUnavailableError:
            time.sleep(min(1.0, left))
        except (*DEATHS, GetTimeoutError):
            return False
        else:
            return True
    return False


def _cause(error: Exception) -> str:
    """Return why an actor died, in one line."""
    if isinstance(error, OutOfMemoryError):
        return OUT_OF_MEMORY
    # Ray puts the cause last, after the traceback of the actor's constructor if it was that.
    return str(error).strip().splitlines()[-1]
