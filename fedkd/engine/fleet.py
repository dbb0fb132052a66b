"""The ordering proxy: clients are addressed by index, replies come back sorted by client.

In Flower's simulation node ids are random, ``get_nodes()`` has no order and replies come in
completion order. `Fleet` hides all three, for every engine.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from ..codecs.compression import Compression
from ..errors import RunError
from ..flower import unanswered
from ..knowledge.payload import exchanges, payload_bytes
from .cohort import CohortGrid
from .faults import Fault
from .replies import Reply, cause, read
from .system import VirtualClock
from .waves import next_wave

POLL_SECONDS = 0.02
"""Pause between pulls that brought nothing (a grid may also block in its pull)."""


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
    compression : Compression, optional
        Encodes what goes, decodes what comes; bytes are counted in between.
    clock : VirtualClock, optional
        Adds up what that takes on the clients' devices, and says who is late.
    """

    def __init__(
        self,
        grid: Grid,
        clients: int,
        progress: Callable[[str, int, int], None] | None = None,
        compression: Compression | None = None,
        clock: VirtualClock | None = None,
    ) -> None:
        self.grid = grid
        self.compression, self.clock = compression, clock
        self.clients = clients
        self.progress = progress or (lambda phase, done, total: None)
        self.node_of: dict[int, int] = {}
        self.bytes_down = self.bytes_up = 0
        self._part = 0, 0  # messages in the waves before this one, and in all waves
        self.faults: Mapping[int, Fault] = {}  # of the round under way
        self.struck: set[int] = set()  # whom they have met in it
        self.hung: dict[int, str] = {}  # who did not answer in time in it, and what is said of it

    def hello(self, timeout: float = 60.0) -> None:
        """Ask every node for its partition id (``query.hello``) and remember who is who."""
        deadline = time.monotonic() + timeout
        while len(nodes := list(self.grid.get_node_ids())) < self.clients:
            if time.monotonic() > deadline:
                raise RunError(f"only {len(nodes)} of {self.clients} nodes came up")
            time.sleep(POLL_SECONDS)
        messages = [Message(RecordDict(), node, "query.hello") for node in nodes]
        answers: list[tuple[int, int]] = []
        for reply in self._exchange(messages):
            _raise_error(reply)
            partition = reply.content.config_records.get("about", ConfigRecord()).get("client")
            if not isinstance(partition, int):
                raise RunError(f"node {reply.metadata.src_node_id} does not say which client it is")
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
        return list(self.stream(action, contents, round_))

    def stream(
        self,
        action: str,
        contents: Mapping[int, RecordDict],
        round_: int,
        bytes_of: Callable[[int], int] = lambda client: 0,
    ) -> Iterator[Reply]:
        """Do as `call` does, reply by reply; contents are looked up wave by wave (`next_wave`)."""

        def make(client: int) -> Message:
            return Message(contents[client], self.node_of[client], action, group_id=str(round_))

        waiting = deque(sorted(contents))
        while waiting:
            before = len(contents) - len(waiting)
            yield from self._send(next_wave(waiting, make, bytes_of), before, len(contents))

    def _send(self, messages: Sequence[Message], before: int, total: int) -> list[Reply]:
        """Exchange messages that come after others, and tell of progress among all of them."""
        self._part = before, total
        try:
            return self.send(messages)
        finally:
            self._part = 0, 0

    def begin(self, faults: Mapping[int, Fault]) -> None:
        """Begin a round in which these simulated faults happen."""
        self.faults, self.struck, self.hung = faults, set(), {}

    def send(self, messages: Sequence[Message]) -> list[Reply]:
        """Exchange ready messages and return the replies, sorted by client.

        A simulated fault meets a client in its first training message of a round; after that the
        client is absent from training until the next round, as is one that did not answer in time,
        on the real clock or on the virtual one.
        """
        message_type = messages[0].metadata.message_type if messages else ""
        training, counted = message_type.startswith("train"), exchanges(message_type)
        client_of = {node: client for client, node in self.node_of.items()}
        due, replies = self._strike(messages, client_of) if training else (messages, [])
        down = self._outgoing(due, client_of, counted)
        answers: dict[int, list[Message]] = {}
        up: dict[int, int] = {}
        for answer in self._exchange(due):
            client = client_of[answer.metadata.src_node_id]
            answers.setdefault(client, []).append(answer)
            if answer.has_content():
                up[client] = up.get(client, 0) + payload_bytes(answer.content)
        if counted:
            self._count(down, up, training)
        for client, own in answers.items():
            fault = self.faults.get(client) if training else None
            replies.append(self._read(client, own, fault, up.get(client, 0)))
        return sorted(replies, key=lambda reply: reply.client)

    def _outgoing(
        self, messages: Sequence[Message], client_of: Mapping[int, int], counted: bool
    ) -> dict[int, int]:
        """Encode messages; return the bytes for each client, if they count.

        That is before they are sent: a client in this very process may unpack them.
        """
        own = [(client_of[message.metadata.dst_node_id], message) for message in messages]
        if counted and self.clock is not None:
            self.clock.ask(dict(own), more=self._part[0] > 0)
        if self.compression is not None:
            self.compression.outgoing(messages)
        down: dict[int, int] = {}
        for client, message in own if counted else ():
            down[client] = down.get(client, 0) + payload_bytes(message.content)
        self.bytes_down += sum(down.values())
        return down

    def _count(self, down: Mapping[int, int], up: Mapping[int, int], training: bool) -> None:
        """Count what came back; whom the virtual clock finds too slow is lost for the round."""
        self.bytes_up += sum(up.values())
        if self.clock is not None:
            late = self.clock.answered(down, up, training)
            self.faults = {**self.faults, **{k: Fault("late", why) for k, why in late.items()}}
            self.struck |= late.keys()

    def _read(
        self, client: int, answers: Sequence[Message], fault: Fault | None, size: int
    ) -> Reply:
        """Return what comes of a client's answers to one message, decoded."""
        reply = read(client, answers, fault)
        if unanswered(answers[0]):
            self.hung[client] = reply.error or "no reply"
        if reply.content is None or reply.message is None or self.compression is None:
            return reply
        problem = self.compression.incoming(client, reply.message, size)
        if problem is not None:
            return Reply(client, None, problem, reply.message)
        return replace(reply, content=reply.message.content)

    def _strike(
        self, messages: Sequence[Message], client_of: Mapping[int, int]
    ) -> tuple[list[Message], list[Reply]]:
        """Return the messages that reach their clients, and a reply for each that does not."""
        due, absent = [], []
        for message in messages:
            client = client_of[message.metadata.dst_node_id]
            fault = self.faults.get(client)
            if client in self.hung:
                absent.append(Reply(client, None, self.hung[client]))
                continue
            if fault is not None and (fault.silent or client in self.struck):
                absent.append(Reply(client, None, fault.reason, fault=fault.kind))
                continue
            if fault is not None:
                self.struck.add(client)
                fault.mark(message)
            due.append(message)
        return due, absent

    def view(self, cohort: Iterable[int]) -> CohortGrid:
        """Return a grid that shows exactly these clients, for Flower's own strategies."""
        return CohortGrid(self.grid, [self.node_of[k] for k in sorted(cohort)])

    def _exchange(self, messages: Sequence[Message]) -> list[Message]:
        if not messages:
            return []
        waiting = dict.fromkeys(self.grid.push_messages(messages))
        replies: list[Message] = []
        while waiting:
            arrived = list(self.grid.pull_messages(waiting))
            for reply in arrived:
                waiting.pop(reply.metadata.reply_to_message_id, None)
            replies += arrived
            phase = messages[0].metadata.message_type.rpartition(".")[2]
            done = len(messages) - len(waiting)
            before, total = self._part
            self.progress(phase, before + done, max(total, len(messages)))
            if waiting and not arrived:
                time.sleep(POLL_SECONDS)
        return replies


def _raise_error(reply: Message) -> None:
    if reply.has_error():
        raise RunError(cause(reply.error.reason))
