"""The pool of actors: it replaces those that die, up to ``engine.max_restarts`` times."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, OutOfMemoryError

from ..errors import RunError
from .journal import Chunk
from .recovery import DEATHS, PATIENCE_SECONDS, Home

log = logging.getLogger("fedkd")

OUT_OF_MEMORY = "out of memory; lower engine.actors or fit.batch_size, or simulate fewer clients"


class Pool:
    """All homes of a run; gives them new actors.

    Parameters
    ----------
    spawn : callable
        Starts an actor; told whether it replaces a dead one.
    placed : sequence of list of int
        The clients of each home.
    job : ObjectRef
        What actors are told when they begin.
    max_restarts : int
        Deaths that the run survives, 0 or more.
    timeout : float or None
        Seconds that an actor may work on a client's message.

    Attributes
    ----------
    restarts : int
        Actors that were replaced, those that a client hung among them.
    """

    def __init__(
        self,
        spawn: Callable[[bool], Any],
        placed: Iterable[list[int]],
        job: Any,
        max_restarts: int,
        timeout: float | None = None,
    ) -> None:
        self.spawn, self.max_restarts = spawn, max_restarts
        self.timeout, self.deaths, self.restarts = timeout, 0, 0
        self.homes: Sequence[Home] = [Home(own, spawn(False), job, timeout) for own in placed]

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
        if self.deaths >= self.max_restarts:
            reached = f"after {self.deaths} restarts (engine.max_restarts={self.max_restarts})"
            raise RunError(f"an actor died {reached}: {cause}") from error
        self.deaths += 1
        log.warning("restart %d of %d: %s", self.deaths, self.max_restarts, cause)
        self._replace(home)

    def lose(self, home: Home, chunk: Chunk) -> None:
        """Go on, on another actor, without an answer to messages that this one hangs over.

        It is a restart that does not count towards ``engine.max_restarts``: each costs a client its
        phase, so there is an end to them.
        """
        home.skip(chunk)
        self._replace(home)

    def _replace(self, home: Home) -> None:
        self.restarts += 1
        ray.kill(home.actor)  # one that is only out of reach must not come back
        home.move(self.spawn(True))

    def move(self, clients: list[int], origin: Home, goal: Home) -> bool:
        """Let clients live elsewhere from now on; return False if they could not go."""
        try:
            memory = origin.give(clients)
        except DEATHS as error:
            self.recover(origin, origin.actor, error)
            return False
        goal.take(clients, memory)
        return True

    def leave(self) -> list[Any]:
        """Return all actors; the pool has none any longer."""
        actors, self.homes = [home.actor for home in self.homes], []
        return actors

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
