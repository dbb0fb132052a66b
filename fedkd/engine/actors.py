"""The Ray engine: one pool of actors that hold their clients and compute fusion blocks.

A client stays on its actor, so that only messages travel and its model does not. If an actor dies,
its clients live on in another one (see `recovery`); also if one of them hangs for longer than
``engine.timeout`` (see `clock`), and that one is then as it was before. If an actor would have much
more to do in a round than another, some of its clients move (see `balance`). Actors that have
seen a run to its end wait for the next one (see `warm`).
"""

import gc
import os
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import ray
from flwr.app import Message, RecordDict

from ..ending import contained
from ..environment import set_defaults
from ..flower import identity
from .base import FIRST_NODE_ID, AppFactory, Engine, Main
from .blocks import ActorBlocks
from .cluster import actor_count, actor_resources, replacement_resources, shared_ray
from .host import Host, keep_freed_memory, one_thread, single_thread
from .placement import place_stacks, stack_size
from .pool import Pool
from .raygrid import RayGrid
from .traces import Traces, changed_since
from .warm import WARM

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """What a run has an actor do.

    Parameters
    ----------
    factory : AppFactory
        Builds the app.
    total : int
        Number of clients in the whole run.
    together : bool
        Whether the clients' training loop may see those that train at once.
    """

    factory: AppFactory
    total: int
    together: bool = False


class Actor:
    """What runs in each Ray worker process; a run calls `rewind` first, then `restore`."""

    def __init__(self) -> None:
        set_defaults()  # in a Ray of the user's they come with the data's import only
        single_thread()
        keep_freed_memory()
        self.began, self.before = time.time(), Traces()
        gc.collect()
        gc.freeze()  # what is imported stays: to look for garbage is quick then

    def rewind(self, clients: list[int], job: Job) -> list[Message]:
        """Host clients as they were before the first round."""
        self.together = job.together
        self.host = Host(job.factory, clients, job.total)
        return []

    def release(self) -> str:
        """Host nobody; return what keeps this process from being as good as a new one, if any."""
        del self.host
        return self.before.left()

    def ready(self) -> str:
        """Return why a new one would be better now, if it would."""
        return "fedkd has been edited" if changed_since(self.began) else ""

    def restore(self, part: dict[int, RecordDict]) -> list[Message]:
        """Make some of the clients, or new ones, remember a part of a snapshot."""
        self.host.restore(part)
        return []

    def give(self, clients: list[int]) -> tuple[dict[int, RecordDict], bool]:
        """Return all that some clients remember, and True; they are not hosted any longer."""
        memory = self.host.snapshot([FIRST_NODE_ID + client for client in clients])
        self.forget(clients)
        return memory, True

    def forget(self, clients: list[int]) -> list[Message]:
        """Host some clients no longer."""
        self.host.forget([FIRST_NODE_ID + client for client in clients])
        return []

    def handle(self, messages: list[Message], wanted: Set[str] | None = None) -> list[Message]:
        """Answer messages; return all replies, or those to `wanted` ids."""
        replies = self.host.handle_all(messages, self.together)
        return [
            reply
            for reply in replies
            if wanted is None or reply.metadata.reply_to_message_id in wanted
        ]

    def snapshot(self, size: int) -> Iterator[dict[int, RecordDict] | float]:
        """Yield a snapshot of all clients, so many at a time, then how many seconds it took.

        Each part is in Ray's object store before the next one is made. The driver fetches only the
        last result: it proves that the others exist.
        """
        began = time.perf_counter()
        nodes = list(self.host.contexts)
        for start in range(0, len(nodes), size):
            yield self.host.snapshot(nodes[start : start + size])
        yield time.perf_counter() - began

    def block(self, function: Callable[[T], Any], block: T) -> Any:
        """Compute one fusion block."""
        with contained():  # Ray takes sys.exit for the wish of the actor to end
            return function(block)

    def pid(self) -> int:
        """Return the id of this process."""
        return os.getpid()


class RayEngine(Engine):
    """The default engine."""

    def run(self, main: Main) -> None:
        """Call ``main(grid, blocks)`` with actors up; after it they host nobody any longer."""
        with shared_ray(self.config), one_thread(), identity():
            actors = actor_count(self.config)
            stack = stack_size(self.config.stack, len(self.work), actors)
            placed = place_stacks(self.work, actors, stack)
            asked, limits = WARM.asks(actor_resources(self.config)), self.config
            job = Job(partial(self.factory, len(placed)), len(self.work), stack > 1)
            spawn = Spawner(asked, len(placed))
            pool = Pool(spawn, placed, ray.put(job), limits.max_restarts, limits.timeout)
            try:
                main(RayGrid(pool, self.work, stack), ActorBlocks(pool))
                if spawn.alike:
                    WARM.keep(asked, pool.leave())
            finally:
                self.restarts = pool.restarts
                pool.end()


class Spawner:
    """Finds actors: those that wait, or new ones.

    Parameters
    ----------
    asked : dict
        What each asks Ray for.
    actors : int
        How many there are.

    Attributes
    ----------
    alike : bool
        Whether all ask for the same: a replacement may have to do with less.
    """

    def __init__(self, asked: dict[str, float], actors: int) -> None:
        self.asked, self.actors, self.alike = asked, actors, True
        self._remote: Any = ray.remote(Actor)
        self._waiting = WARM.hire(asked, actors)

    def __call__(self, again: bool) -> Any:
        """Return an actor; `again` = it replaces one."""
        if self._waiting and not again:
            return self._waiting.pop()
        asked = replacement_resources(self.asked, self.actors) if again else self.asked
        self.alike = self.alike and asked == self.asked
        return self._remote.options(scheduling_strategy="SPREAD", **asked).remote()
