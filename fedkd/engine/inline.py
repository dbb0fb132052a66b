"""The inline engine: everything in this process, one message after the other, no Ray."""

from collections.abc import Iterable
from functools import partial
from itertools import groupby

from flwr.app import Message

from ..flower import identity, stamp
from .base import Engine, InlineBlocks, LocalGrid, Main, stack_of
from .host import Host, one_thread
from .placement import stack_size


class InlineGrid(LocalGrid):
    """Answers one pending message per pull, so that a caller sees progress, or those of a stack.

    Parameters
    ----------
    host : Host
        All clients.
    stack : int
        Clients that are handed out together.
    """

    def __init__(self, host: Host, stack: int = 1) -> None:
        super().__init__(len(host.contexts))
        self.host, self.stack = host, stack
        self.pending: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages and return their ids."""
        pushed = {stamp(message): message for message in messages}
        self.pending |= pushed
        return list(pushed)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Run the next of these messages, with its stack's; return the replies."""
        if self.stack == 1:
            due = next((key for key in message_ids if key in self.pending), None)
            return [] if due is None else [self.host.handle(self.pending.pop(due))]
        asked = set(message_ids)
        waiting = [message for key, message in self.pending.items() if key in asked]
        waiting.sort(key=lambda message: message.metadata.dst_node_id)
        for _, group in groupby(waiting, lambda message: stack_of(message, self.stack)):
            messages = [self.pending.pop(message.metadata.message_id) for message in group]
            return self.host.handle_all(messages, together=True)
        return []


class InlineEngine(Engine):
    """For notebooks, debugging and small runs."""

    def run(self, main: Main) -> None:
        """Call ``main(grid, blocks)`` in this process."""
        with one_thread(), identity():
            clients = len(self.work)
            host = Host(partial(self.factory, 1), range(clients), clients)
            stack = stack_size(self.config.stack, clients, 1)
            main(InlineGrid(host, stack), InlineBlocks())
