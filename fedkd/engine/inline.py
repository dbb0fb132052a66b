"""The inline engine: everything in this process, one message after the other, no Ray."""

from collections.abc import Iterable

import torch
from flwr.app import Message

from ..flower import identity, stamp
from .base import Engine, InlineBlocks, LocalGrid, Main
from .host import Host, single_thread


class InlineGrid(LocalGrid):
    """Answers one pending message per pull, so that a caller sees progress."""

    def __init__(self, host: Host) -> None:
        super().__init__(len(host.contexts))
        self.host = host
        self.pending: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages and return their ids."""
        pushed = {stamp(message): message for message in messages}
        self.pending |= pushed
        return list(pushed)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Run the next of these messages and return its reply."""
        due = next((key for key in message_ids if key in self.pending), None)
        return [] if due is None else [self.host.handle(self.pending.pop(due))]


class InlineEngine(Engine):
    """For notebooks, debugging and small runs."""

    def run(self, main: Main) -> None:
        """Call ``main(grid, blocks)`` in this process."""
        threads = torch.get_num_threads()
        single_thread()
        try:
            with identity():
                clients = len(self.sizes)
                main(InlineGrid(Host(self.factory, range(clients), clients)), InlineBlocks())
        finally:
            torch.set_num_threads(threads)
