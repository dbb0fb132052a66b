"""The Ray engine: one pool of actors that hold their clients and compute fusion blocks.

A client stays on its actor, so that only messages travel and its model does not. If an actor dies,
its clients live on in another one (see `recovery`); also if one of them hangs for longer than
``engine.timeout`` (see `clock`), and that one is then as it was before. If an actor would have much
more to do in a round than another, some of its clients move (see `balance`).
"""

import os
import time
from collections.abc import Callable, Iterator, Set
from functools import partial
from typing import Any, TypeVar

import ray
from flwr.app import Message, RecordDict

from ..exits import contained
from ..flower import identity
from .base import FIRST_NODE_ID, AppFactory, Engine, Main
from .blocks import ActorBlocks
from .cluster import actor_count, actor_resources, replacement_resources, shared_ray
from .host import Host, keep_freed_memory, one_thread, single_thread
from .placement import cohort_size, place_cohorts
from .pool import Pool
from .raygrid import RayGrid

T = TypeVar("T")


class Actor:
    """What runs in each Ray worker process; `rewind` is the first call to it, then `restore`."""

    def __init__(self, factory: AppFactory, total: int, together: bool = False) -> None:
        single_thread()
        keep_freed_memory()
        self.factory, self.total, self.together = factory, total, together

    def rewind(self, clients: list[int]) -> list[Message]:
        """Host clients as they were before the first round."""
        self.host = Host(self.factory, clients, self.total)
        return []

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
        """Call ``main(grid, blocks)`` with actors up, and end them after it."""
        with shared_ray(self.config), one_thread(), identity():
            actors = actor_count(self.config)
            cohort = cohort_size(self.config.cohort, len(self.sizes), actors)
            placed = place_cohorts(self.sizes, actors, cohort)
            spawn, limits = self._spawner(len(placed), cohort > 1), self.config
            pool = Pool(spawn, placed, limits.max_restarts, limits.timeout)
            try:
                main(RayGrid(pool, self.sizes, cohort), ActorBlocks(pool))
            finally:
                self.restarts = pool.restarts
                pool.end()

    def _spawner(self, actors: int, together: bool) -> Callable[[bool], Any]:
        """Return what starts an actor."""
        remote: Any = ray.remote(Actor)
        first = actor_resources(self.config)
        factory, total = ray.put(partial(self.factory, actors)), len(self.sizes)

        def spawn(again: bool) -> Any:
            asked = replacement_resources(first, actors) if again else first
            options = remote.options(scheduling_strategy="SPREAD", **asked)
            return options.remote(factory, total, together)

        return spawn
