"""The Ray engine: one pool of actors that hold their clients and compute fusion blocks.

A client stays on its actor for the whole run, so its model never moves; only messages do. Each
actor works through its messages in chunks, largest client first. If an actor dies, its clients
live on in another one (see `recovery`).
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Set
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import ray
from flwr.app import Message, RecordDict

from ..flower import identity, stamp
from .base import FIRST_NODE_ID, AppFactory, Engine, LocalGrid, Main, cohort_of, round_of
from .blocks import ActorBlocks
from .cluster import actor_count, actor_resources, replacement_resources, shared_ray
from .host import Host, keep_freed_memory, one_thread, single_thread
from .pacing import Pace
from .placement import cohort_size, place_cohorts
from .pool import Pool
from .recovery import DEATHS, Home

T = TypeVar("T")

PULL_SECONDS = 0.2
"""Longest wait inside one pull."""


class Actor:
    """What runs in each Ray worker process; `rewind` is the first call to it, then `restore`."""

    def __init__(
        self, factory: AppFactory, clients: list[int], total: int, together: bool = False
    ) -> None:
        single_thread()
        keep_freed_memory()
        self.made_of, self.together = (factory, clients, total), together

    def rewind(self) -> list[Message]:
        """Host the clients as they were before the first round."""
        self.host = Host(*self.made_of)
        return []

    def restore(self, part: dict[int, RecordDict]) -> list[Message]:
        """Make some of the clients remember a part of a snapshot."""
        self.host.restore(part)
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
        return function(block)

    def pid(self) -> int:
        """Return the id of this process."""
        return os.getpid()


class RayGrid(LocalGrid):
    """Sends each message to the actor where its client lives; a cohort's as one chunk."""

    def __init__(self, pool: Pool, cohort: int = 1) -> None:
        super().__init__(sum(len(home.clients) for home in pool.homes))
        self.pool, self.cohort = pool, cohort
        self.home_of = {
            FIRST_NODE_ID + client: (home, rank)
            for home in pool.homes
            for rank, client in enumerate(home.clients)
        }
        self.round = 0
        self.arrived: dict[str, Message] = {}
        self.pace = Pace()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the actors in chunks and return their ids."""
        ids: list[str] = []
        queues: dict[Home, list[Message]] = {home: [] for home in self.pool.homes}
        for message in messages:
            self._enter(round_of(message))
            ids.append(stamp(message))
            queues[self.home_of[message.metadata.dst_node_id][0]].append(message)
            kind = message.metadata.message_type
        if ids:
            self.pace.begin(kind, max(map(len, queues.values())))
        chunked = {home: list(self._chunks(queue)) for home, queue in queues.items()}
        for turn in range(max(map(len, chunked.values()), default=0)):
            for home, chunks in chunked.items():
                if turn < len(chunks):
                    home.send(chunks[turn])
        return ids

    def _enter(self, round_: int) -> None:
        """Keep what the clients are before a new round changes it."""
        if round_ != self.round:
            self.round = round_
            for home in self.pool.homes:
                home.keep()

    def _chunks(self, queue: list[Message]) -> Iterable[list[Message]]:
        queue.sort(key=lambda message: self.home_of[message.metadata.dst_node_id][1])
        if self.cohort > 1:
            cohorts = groupby(queue, lambda message: cohort_of(message, self.cohort))
            return (list(cohort) for _, cohort in cohorts)
        kind = queue[0].metadata.message_type if queue else ""
        size = self.pace.chunk(kind, len(queue))
        return (queue[start : start + size] for start in range(0, len(queue), size))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there, waiting a moment for the first."""
        running = {call: home for home in self.pool.homes for call in home.running}
        if running:
            ready, _ = ray.wait(list(running), timeout=PULL_SECONDS)
            for call in ready:
                self._receive(running[call], call)
        if not any(home.running for home in self.pool.homes):
            self.pace.end()
        return [self.arrived.pop(key) for key in list(message_ids) if key in self.arrived]

    def _receive(self, home: Home, call: Any) -> None:
        try:
            replies = home.receive(call)
        except DEATHS as error:
            self.pool.recover(home, home.actor, error)
        else:
            self.arrived |= {reply.metadata.reply_to_message_id: reply for reply in replies}


class RayEngine(Engine):
    """The default engine."""

    def run(self, main: Main) -> None:
        """Call ``main(grid, blocks)`` with actors up, and end them after it."""
        with shared_ray(self.config), one_thread(), identity():
            actors = actor_count(self.config)
            cohort = cohort_size(self.config.cohort, len(self.sizes), actors)
            placed = place_cohorts(self.sizes, actors, cohort)
            pool = Pool(self._spawner(len(placed), cohort > 1), placed, self.config.max_restarts)
            try:
                main(RayGrid(pool, cohort), ActorBlocks(pool))
            finally:
                self.restarts = pool.restarts
                pool.end()

    def _spawner(self, actors: int, together: bool) -> Callable[[list[int], bool], Any]:
        """Return what starts an actor for some clients."""
        remote: Any = ray.remote(Actor)
        first = actor_resources(self.config)
        factory, total = ray.put(partial(self.factory, actors)), len(self.sizes)

        def spawn(clients: list[int], again: bool) -> Any:
            asked = replacement_resources(first, actors) if again else first
            options = remote.options(scheduling_strategy="SPREAD", **asked)
            return options.remote(factory, clients, total, together)

        return spawn
