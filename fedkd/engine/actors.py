"""The Ray engine: one pool of actors that hold their clients and compute fusion blocks.

A client stays on its actor for the whole run, so its model never moves; only messages do. Each
actor works through its messages in chunks, largest client first.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import ray
from flwr.app import Message

from ..errors import RunError
from ..flower import identity, stamp
from .base import FIRST_NODE_ID, AppFactory, BlockPool, Engine, LocalGrid, Main
from .cluster import actor_count, actor_resources, shared_ray
from .host import Host, single_thread
from .placement import place

T = TypeVar("T")

CHUNKS = 8
"""Chunks per actor and phase: large enough to amortise a call, small enough to show progress."""

PULL_SECONDS = 0.2
"""Longest wait inside one pull."""


class Actor:
    """What runs in each Ray worker process."""

    def __init__(self, factory: AppFactory, clients: list[int], total: int) -> None:
        single_thread()
        self.host = Host(factory, clients, total)

    def handle(self, messages: list[Message]) -> list[Message]:
        """Answer messages one after the other."""
        return [self.host.handle(message) for message in messages]

    def block(self, function: Callable[[T], Any], block: T) -> Any:
        """Compute one fusion block."""
        return function(block)

    def pid(self) -> int:
        """Return the id of this process (once the app is built, so also: it is up)."""
        return os.getpid()


class RayGrid(LocalGrid):
    """Sends each message to the actor where its client lives."""

    def __init__(self, actors: Sequence[Any], placed: Sequence[Sequence[int]]) -> None:
        super().__init__(sum(map(len, placed)))
        self.actors = actors
        self.home = {
            FIRST_NODE_ID + client: (actor, rank)
            for actor, clients in enumerate(placed)
            for rank, client in enumerate(clients)
        }
        self.running: dict[Any, None] = {}
        self.arrived: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the actors in chunks and return their ids."""
        ids, queues = [], [[] for _ in self.actors]  # type: ignore[var-annotated]
        for message in messages:
            ids.append(stamp(message))
            queues[self.home[message.metadata.dst_node_id][0]].append(message)
        chunked = [list(self._chunks(queue)) for queue in queues]
        for turn in range(max(map(len, chunked), default=0)):
            for actor, chunks in zip(self.actors, chunked, strict=True):
                if turn < len(chunks):
                    self.running[actor.handle.remote(chunks[turn])] = None
        return ids

    def _chunks(self, queue: list[Message]) -> Iterable[list[Message]]:
        queue.sort(key=lambda message: self.home[message.metadata.dst_node_id][1])
        size = max(1, -(-len(queue) // CHUNKS))
        return (queue[start : start + size] for start in range(0, len(queue), size))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there, waiting a moment for the first."""
        if self.running:
            ready, _ = ray.wait(list(self.running), timeout=PULL_SECONDS)
            for chunk in ready:
                del self.running[chunk]
                for reply in _get(chunk):
                    self.arrived[reply.metadata.reply_to_message_id] = reply
        return [self.arrived.pop(key) for key in list(message_ids) if key in self.arrived]


def _get(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayActorError as error:
        # Ray puts the cause last, after the traceback of the actor's constructor if it was that.
        raise RunError(f"an actor died: {str(error).strip().splitlines()[-1]}") from error


class ActorBlocks(BlockPool):
    """Computes blocks on the same actors, in turn."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = actors

    def map(self, function: Callable[[T], Any], blocks: Sequence[T]) -> list[Any]:
        """Return ``[function(block) for block in blocks]``."""
        shared = ray.put(function)
        pending = [
            self.actors[turn % len(self.actors)].block.remote(shared, block)
            for turn, block in enumerate(blocks)
        ]
        try:
            return [_get(reference) for reference in pending]
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error


class RayEngine(Engine):
    """The default engine."""

    def run(self, main: Main) -> None:
        """Call ``main(grid, blocks)`` with actors up, and end them after it."""
        with shared_ray(self.config), identity():
            placed = place(self.sizes, actor_count(self.config))
            remote: Any = ray.remote(Actor).options(**actor_resources(self.config))
            factory = ray.put(self.factory)
            actors = [remote.remote(factory, clients, len(self.sizes)) for clients in placed]
            try:
                main(RayGrid(actors, placed), ActorBlocks(actors))
            finally:
                for actor in actors:
                    ray.kill(actor)
