"""Runs a ClientApp for the nodes that live in one process."""

import ctypes
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import torch
from flwr.app import Context, Message, RecordDict, UserConfig

from ..errors import RunError
from ..flower import RUN_ID, error_reply, identity, stamp
from .base import FIRST_NODE_ID, AppFactory
from .gathering import gathered


class Host:
    """The nodes of one process: their contexts live here from the first message to the last.

    Parameters
    ----------
    factory : AppFactory
        Builds the app.
    clients : iterable of int
        The client indices hosted here.
    total : int
        Number of clients in the whole run.
    """

    def __init__(self, factory: AppFactory, clients: Iterable[int], total: int) -> None:
        self.app, self.total = factory(), total
        self.contexts = {FIRST_NODE_ID + k: self._context(FIRST_NODE_ID + k) for k in clients}

    def _context(self, node: int) -> Context:
        about: UserConfig = {"partition-id": node - FIRST_NODE_ID, "num-partitions": self.total}
        return Context(RUN_ID, node, about, RecordDict(), {})

    def handle(self, message: Message) -> Message:
        """Return the app's reply, or an error reply with the cause and its traceback.

        Raises
        ------
        RunError
            If the app says that the run cannot go on, whatever becomes of the client.
        """
        try:
            reply = self.app(message, self.contexts[message.metadata.dst_node_id])
        except RunError:
            raise
        except Exception as error:
            # The first line is for people, the traceback below it for the log.
            reason = f"{str(error) or type(error).__name__}\n{traceback.format_exc()}"
            reply = error_reply(message, reason)
        stamp(reply)
        return reply

    def handle_all(self, messages: Sequence[Message], together: bool) -> list[Message]:
        """Return the replies to messages, in their order.

        Parameters
        ----------
        messages : sequence of Message
            At most one for each node.
        together : bool
            Whether the clients' training loop may see those that train at once.
        """
        if not together or not all(m.metadata.message_type.startswith("train") for m in messages):
            return [self.handle(message) for message in messages]
        return gathered([partial(self.handle, message) for message in messages])

    def snapshot(self, nodes: Iterable[int]) -> dict[int, RecordDict]:
        """Return, by node, all that some clients remember.

        Raises
        ------
        RunError
            If a client cannot tell.
        """
        return self._ask("query.snapshot", {node: RecordDict() for node in nodes})

    def restore(self, snapshot: Mapping[int, RecordDict]) -> None:
        """Make the clients, also new ones, remember a snapshot."""
        for node in snapshot.keys() - self.contexts.keys():
            self.contexts[node] = self._context(node)
        self._ask("query.restore", snapshot)

    def forget(self, nodes: Collection[int]) -> None:
        """Host some clients no longer."""
        self._ask("query.forget", {node: RecordDict() for node in nodes})
        for node in nodes:
            del self.contexts[node]

    def _ask(self, action: str, contents: Mapping[int, RecordDict]) -> dict[int, RecordDict]:
        answers = {}
        with identity():
            for node, content in contents.items():
                message = Message(content, node, action)
                stamp(message)
                reply = self.handle(message)
                if reply.has_error():
                    raise RunError(str(reply.error.reason).splitlines()[0])
                answers[node] = reply.content
        return answers


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**25
"""What an actor keeps of the memory that it has freed."""


def keep_freed_memory() -> None:
    """Have glibc keep some freed memory, instead of asking the system for it again and again.

    Models and messages of a megabyte come and go with each client; without this, a tenth of what
    an actor does beside training is page faults.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than glibc
            library = ctypes.CDLL(None)
            library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
            library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def single_thread() -> None:
    """Compute with one torch thread: sums then run in one order, whatever the machine."""
    torch.set_num_threads(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one torch thread inside, also what the server does itself."""
    threads = torch.get_num_threads()
    single_thread()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
