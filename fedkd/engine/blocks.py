"""Fusion blocks on the actors that hold the clients, or in the driver if that is quicker."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import ray

from .base import BlockPool
from .pool import Pool
from .recovery import DEATHS, Home, fetch

T = TypeVar("T")

AHEAD = 2
"""Blocks per actor under way: the next one is there when the actor is done with one."""

CALL_SECONDS, COPIES = 0.004, 3
"""What a call costs beside its block, and how many times the block is copied on the way."""

TRIALS = 2
"""How often a function must have been worth sending before it is no longer tried here."""


class ActorBlocks(BlockPool):
    """Computes blocks on the actors, in turn; a light function's here, if that is quicker."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._heavy: Counter[str] = Counter()

    def map(
        self, function: Callable[[T], Any], blocks: Sequence[T], light: bool = False
    ) -> Iterator[Any]:
        """Yield ``function(block) for block in blocks``; a lost block is computed again."""
        name = getattr(function, "func", function).__qualname__
        if light and blocks and self._heavy[name] < TRIALS:
            sends, result = _worth_sending(function, blocks[0])
            self._heavy[name] += sends
            yield result
            blocks = blocks[1:]
            if not sends:
                yield from map(function, blocks)
                return
        yield from self._sent(function, blocks)

    def _sent(self, function: Callable[[T], Any], blocks: Sequence[T]) -> Iterator[Any]:
        shared, homes = ray.put(function), self.pool.homes
        turns, pending = iter(range(len(blocks))), deque[tuple[int, Home, Any, Any]]()
        while True:
            for turn in islice(turns, AHEAD * len(homes) - len(pending)):
                home = homes[turn % len(homes)]
                pending.append(
                    (turn, home, home.actor, home.actor.block.remote(shared, blocks[turn]))
                )
            if not pending:
                return
            yield self._result(*pending.popleft(), shared, blocks)

    def _result(
        self, turn: int, home: Home, actor: Any, call: Any, shared: Any, blocks: Sequence[Any]
    ) -> Any:
        while True:
            try:
                return fetch(call)
            except DEATHS as error:
                self.pool.recover(home, actor, error)
                actor, call = home.actor, home.actor.block.remote(shared, blocks[turn])


def _worth_sending(function: Callable[[T], Any], block: T) -> tuple[bool, Any]:
    """Tell whether computing a block takes longer than sending it; return the result too."""
    began = time.perf_counter()
    ray.put(block)
    put = time.perf_counter()
    result = function(block)
    return time.perf_counter() - put > CALL_SECONDS + COPIES * (put - began), result
