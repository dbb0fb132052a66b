"""What Flower's own strategies see of the fleet."""

from collections.abc import Iterable
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from ..flower import Run
from .replies import without_measured


class CohortGrid(Grid):
    """Shows a Flower strategy the round's cohort, in client order, and nothing else."""

    def __init__(self, grid: Grid, nodes: list[int]) -> None:
        self.grid, self.nodes = grid, nodes

    def get_node_ids(self) -> Iterable[int]:
        """Return the cohort's node ids, in client order."""
        return self.nodes

    @property
    def run(self) -> Run:
        """The run."""
        return self.grid.run

    def set_run(self, run: Run) -> None:
        """Pass on to the grid below."""
        self.grid.set_run(run)

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Pass on to the grid below."""
        return self.grid.create_message(*args, **kwargs)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Pass on to the grid below."""
        return self.grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pass on to the grid below."""
        return [_plain(reply) for reply in self.grid.pull_messages(message_ids)]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Pass on to the grid below; replies are sorted by node, in client order."""
        found = self.grid.send_and_receive(messages, timeout=timeout)
        replies = [_plain(reply) for reply in found]
        rank = {node: place for place, node in enumerate(self.nodes)}
        return sorted(replies, key=lambda reply: rank[reply.metadata.src_node_id])


def _plain(reply: Message) -> Message:
    """Return a reply as a method may see it."""
    without_measured(reply)
    return reply
