"""The Ray engine's grid: each message goes to the actor where its client lives."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import ray
from flwr.app import Message

from ..flower import no_reply, stamp
from .balance import Costs, moves
from .base import LocalGrid, client_of, round_of, stack_of
from .cluster import nodes
from .journal import Chunk
from .pacing import Pace
from .pool import Pool
from .recovery import DEATHS, PART, Home, fetch

PULL_SECONDS = 0.2
"""Longest wait inside one pull."""


class RayGrid(LocalGrid):
    """Sends an actor its messages in chunks, longest job first; a stack's as one chunk.

    Parameters
    ----------
    pool : Pool
        The actors.
    work : sequence of float
        What a round is expected to take each client, relative to the others.
    stack : int
        Clients that are handed out together.
    """

    def __init__(self, pool: Pool, work: Sequence[float], stack: int = 1) -> None:
        super().__init__(len(work))
        self.pool, self.stack, self.costs = pool, stack, Costs(work)
        self.home_of = {client: home for home in pool.homes for client in home.clients}
        self.rank = {client: rank for rank, client in enumerate(self.home_of)}
        self.round = 0
        self.arrived: dict[str, Message] = {}
        self.pace = Pace()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the actors in chunks and return their ids."""
        messages = list(messages)
        if not messages:
            return []
        self._enter(round_of(messages[0]), [client_of(message) for message in messages])
        queues: dict[Home, list[Message]] = {home: [] for home in self.pool.homes}
        for message in messages:
            stamp(message)
            queues[self.home_of[client_of(message)]].append(message)
        kind = messages[0].metadata.message_type
        self.pace.begin(kind, max(map(len, queues.values())))
        chunked = {home: list(self._chunks(queue, kind)) for home, queue in queues.items()}
        for turn in range(max(map(len, chunked.values()))):
            for home, chunks in chunked.items():
                if turn < len(chunks):
                    home.send(chunks[turn])
        return [message.metadata.message_id for message in messages]

    def _enter(self, round_: int, clients: list[int]) -> None:
        """Before a new round: let clients move, and keep what all are before it changes them."""
        if round_ == self.round:
            return
        self.round = round_
        self.costs.begin()
        if self.stack == 1:
            self._balance(clients)
        for home in self.pool.homes:
            home.keep()

    def _balance(self, clients: list[int]) -> None:
        """Have clients of the round move to where there is less to do, on one machine."""
        homes = self.pool.homes
        loads: dict[Home, dict[int, float]] = {home: {} for home in homes}
        for client in clients:
            loads[self.home_of[client]][client] = self.costs.of(client)
        due = sorted(moves(list(loads.values())), key=lambda move: move[1:])
        if not due or len(nodes()) > 1 or any(home.busy for home in homes):
            return
        for (origin, goal), some in groupby(due, lambda move: move[1:]):
            going = [client for client, _, _ in some]
            for part in (going[start : start + PART] for start in range(0, len(going), PART)):
                if self.pool.move(part, homes[origin], homes[goal]):
                    self.home_of |= dict.fromkeys(part, homes[goal])

    def _chunks(self, queue: list[Message], kind: str) -> Iterable[list[Message]]:
        if self.stack > 1:
            queue.sort(key=lambda message: self.rank[client_of(message)])
            stacks = groupby(queue, lambda message: stack_of(message, self.stack))
            return (list(stack) for _, stack in stacks)
        queue.sort(key=self._longest_first)
        size = 1 if self.pool.timeout else self.pace.chunk(kind, len(queue))
        return (queue[start : start + size] for start in range(0, len(queue), size))

    def _longest_first(self, message: Message) -> tuple[float, int]:
        client = client_of(message)
        return -self.costs.of(client), self.rank[client]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there, waiting a moment for the first."""
        running = {call: home for home in self.pool.homes for call in home.running}
        if running:
            ready, _ = ray.wait(list(running), timeout=PULL_SECONDS)
            for call in ready:
                self._receive(running[call], call)
        for home in self.pool.homes:
            if (chunk := home.overdue()) is not None:
                self._lose(home, chunk)
        if not any(home.running for home in self.pool.homes):
            self.pace.end()
        return [self.arrived.pop(key) for key in list(message_ids) if key in self.arrived]

    def _lose(self, home: Home, chunk: Chunk) -> None:
        """Answer in the place of a client that hangs."""
        messages = chunk.messages if isinstance(chunk.messages, list) else fetch(chunk.messages)
        self.pool.lose(home, chunk)
        for message in messages:
            who = f"client {client_of(message)}, round {round_of(message)}"
            late = f"no reply within engine.timeout={self.pool.timeout:g} s"
            reply = no_reply(message, f"{who}, {message.metadata.message_type}: {late}")
            self.arrived[message.metadata.message_id] = reply

    def _receive(self, home: Home, call: Any) -> None:
        try:
            replies = home.receive(call)
        except DEATHS as error:
            self.pool.recover(home, home.actor, error)
            return
        for reply in replies:
            self.costs.note(reply)
            self.arrived[reply.metadata.reply_to_message_id] = reply
