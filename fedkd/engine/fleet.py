"""The ordering proxy: clients are addressed by index, replies come back sorted by client.

In Flower's simulation node ids are random, ``get_nodes()`` has no order and replies come in
completion order. `Fleet` hides all three, for every engine.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from ..errors import RunError
from ..flower import Run

log = logging.getLogger("fedkd")

POLL_SECONDS = 0.02
"""Pause between pulls that brought nothing (a grid may also block in its pull)."""


@dataclass(frozen=True)
class Reply:
    """One client's answer: its content, or why there is none."""

    client: int
    content: RecordDict | None
    error: str | None = None
    message: Message | None = None

    @property
    def ok(self) -> RecordDict:
        """The content, where there is one."""
        if self.content is None:
            raise RunError(self.error or "no reply")
        return self.content


def payload_bytes(content: RecordDict) -> int:
    """Return the serialised size of a message's arrays, in bytes.

    Knowledge, teachers and parameters travel as arrays. Metrics (accuracies, seconds) are what the
    simulation wants to know, not what a method exchanges.
    """
    return sum(record.count_bytes() for record in content.array_records.values())


class Fleet:
    """All clients of a run, in order, behind a Flower ``Grid``.

    Parameters
    ----------
    grid : Grid
        Any Flower grid.
    clients : int
        How many clients the run has; `hello` waits until as many nodes are there.
    progress : callable, optional
        Called with (phase, messages answered, messages sent) as replies come in.
    """

    def __init__(
        self,
        grid: Grid,
        clients: int,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.grid = grid
        self.clients = clients
        self.progress = progress or (lambda phase, done, total: None)
        self.node_of: dict[int, int] = {}
        self.bytes_down = self.bytes_up = 0
        self.cancelled = False

    def hello(self, timeout: float = 60.0) -> None:
        """Ask every node for its partition id (``query.hello``) and remember who is who."""
        deadline = time.monotonic() + timeout
        while len(nodes := list(self.grid.get_node_ids())) < self.clients:
            if time.monotonic() > deadline:
                raise RunError(f"only {len(nodes)} of {self.clients} nodes came up")
            time.sleep(POLL_SECONDS)
        messages = [Message(RecordDict(), node, "query.hello") for node in nodes]
        answers: list[tuple[Any, int]] = []
        for reply in self._exchange(messages):
            _raise_error(reply)
            partition = reply.content.config_records["about"]["client"]
            answers.append((partition, reply.metadata.src_node_id))
        partitions = sorted(partition for partition, _ in answers)
        if partitions != list(range(self.clients)):
            raise RunError(f"nodes answered as partitions {partitions}")
        self.node_of = dict(answers)

    def call(self, action: str, contents: Mapping[int, RecordDict], round_: int) -> list[Reply]:
        """Send each client its content and return the replies, sorted by client.

        Parameters
        ----------
        action : str
            Flower message type, such as ``"train.fit"``.
        contents : mapping
            ``{client: content}``.
        round_ : int
            Round number; the messages' group id.
        """
        messages = [
            Message(contents[k], self.node_of[k], action, group_id=str(round_))
            for k in sorted(contents)
        ]
        return self.send(messages)

    def send(self, messages: Sequence[Message]) -> list[Reply]:
        """Exchange ready messages and return the replies, sorted by client."""
        client_of = {node: client for client, node in self.node_of.items()}
        replies = []
        for reply in self._exchange(messages):
            error = _cause(reply.error.reason) if reply.has_error() else None
            content = reply.content if reply.has_content() else None
            client = client_of[reply.metadata.src_node_id]
            replies.append(Reply(client, content, error, reply))
        if messages and messages[0].metadata.message_type.startswith("train"):
            self.bytes_down += sum(payload_bytes(message.content) for message in messages)
            self.bytes_up += sum(payload_bytes(r.content) for r in replies if r.content)
        return sorted(replies, key=lambda reply: reply.client)

    def view(self, cohort: Iterable[int]) -> "CohortGrid":
        """Return a grid that shows exactly these clients, for Flower's own strategies."""
        return CohortGrid(self, [self.node_of[k] for k in sorted(cohort)])

    def _exchange(self, messages: Sequence[Message]) -> list[Message]:
        waiting = dict.fromkeys(self.grid.push_messages(messages))
        replies: list[Message] = []
        while waiting:
            if self.cancelled:
                raise KeyboardInterrupt
            arrived = list(self.grid.pull_messages(waiting))
            for reply in arrived:
                waiting.pop(reply.metadata.reply_to_message_id, None)
            replies += arrived
            phase = messages[0].metadata.message_type.rpartition(".")[2]
            self.progress(phase, len(replies), len(messages))
            if waiting and not arrived:
                time.sleep(POLL_SECONDS)
        return replies


def _raise_error(reply: Message) -> None:
    if reply.has_error():
        raise RunError(_cause(reply.error.reason))


def _cause(reason: str | None) -> str:
    """Return the one line of an error reply that is for people; the log gets all of it.

    Flower's backend wraps the ClientApp's message into Ray's traceback.
    """
    reason = reason or "no reason given"
    log.error("%s", reason)
    own = re.search(r"client \d+, round \d+, .*", reason)
    return own.group() if own else reason.splitlines()[0]


class CohortGrid(Grid):
    """Shows a Flower strategy the round's cohort, in client order, and nothing else."""

    def __init__(self, fleet: Fleet, nodes: list[int]) -> None:
        self.fleet, self.nodes = fleet, nodes

    def get_node_ids(self) -> Iterable[int]:
        """Return the cohort's node ids, in client order."""
        return self.nodes

    @property
    def run(self) -> Run:
        """The run."""
        return self.fleet.grid.run

    def set_run(self, run: Run) -> None:
        """Pass on to the grid below."""
        self.fleet.grid.set_run(run)

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Pass on to the grid below."""
        return self.fleet.grid.create_message(*args, **kwargs)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Pass on to the grid below."""
        return self.fleet.grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pass on to the grid below."""
        return self.fleet.grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Pass on to the grid below; replies are sorted by node, in client order."""
        replies = self.fleet.grid.send_and_receive(messages, timeout=timeout)
        return sorted(replies, key=lambda reply: self.nodes.index(reply.metadata.src_node_id))
