"""What an engine is: a Flower ``Grid`` to talk to the clients, and a pool for fusion blocks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from ..config import EngineConfig
from ..flower import Run, new_run

T = TypeVar("T")

BLOCK = 256
"""Samples in one fusion block: a constant, so that every engine adds up the same numbers in the
same order and a teacher is bit-identical however many processes computed it."""

MEASURED = "measured"
"""The record of a reply with what the simulation measures of a client: accuracies, seconds, and
under a privacy guarantee all numbers that are not public. It is for the tables: `fleet.Fleet` takes
it out of a reply before a method sees that."""

AppFactory = Callable[[], ClientApp]
"""Builds the ClientApp inside the process that will run it."""

FIRST_NODE_ID = 1000
"""Node id of client 0 in our own grids (Flower reserves 1 for the server)."""


class BlockPool(ABC):
    """Applies a function to blocks, wherever the engine computes."""

    @abstractmethod
    def map(
        self, function: Callable[[T], Any], blocks: Sequence[T], light: bool = False
    ) -> Iterator[Any]:
        """Yield ``function(block) for block in blocks``, in that order.

        Nothing is computed before somebody asks for it. Blocks may be lazy too: only a few of them,
        and of what becomes of them, are held at a time. A `light` function may take less time than
        sending its blocks elsewhere does, and can be computed anywhere.
        """


class InlineBlocks(BlockPool):
    """Computes blocks in this process."""

    def map(
        self, function: Callable[[T], Any], blocks: Sequence[T], light: bool = False
    ) -> Iterator[Any]:
        """Yield ``function(block) for block in blocks``."""
        return map(function, blocks)


Main = Callable[[Grid, BlockPool], None]
"""The server's side of a run."""


@dataclass
class Engine(ABC):
    """Runs a server's side against clients.

    Parameters
    ----------
    factory : callable
        Builds the clients' app, told how many processes do so; called in each that hosts clients.
    work : list of float
        What a round is expected to take each client, relative to the others, for scheduling.
    config : EngineConfig
        Number of actors and so on.
    restarts : int
        Actors that were replaced: they died, or a client hung.
    """

    factory: Callable[[int], ClientApp]
    work: list[float]
    config: EngineConfig
    restarts: int = 0

    @abstractmethod
    def run(self, main: Main) -> None:
        """Call ``main(grid, blocks)`` with everything up, and take everything down after it."""


class LocalGrid(Grid):
    """The parts of Flower's ``Grid`` that our own grids share."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self._run = new_run()

    def set_run(self, run: Run) -> None:
        """Set the run (there is one)."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Build a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of all nodes."""
        return range(FIRST_NODE_ID, FIRST_NODE_ID + self.nodes)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push messages and pull until every reply is there (a local grid loses none)."""
        del timeout
        waiting = set(self.push_messages(messages))
        replies: list[Message] = []
        while waiting:
            for reply in self.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                replies.append(reply)
        return replies


def round_of(message: Message) -> int:
    """Return the round a message belongs to (Flower's strategies put it into their config)."""
    config = message.content.config_records.get("config", ConfigRecord())
    return int(message.metadata.group_id or config.get("server-round", 0))  # type: ignore[arg-type]


def client_of(message: Message) -> int:
    """Return the client that a message goes to, in our own grids."""
    return message.metadata.dst_node_id - FIRST_NODE_ID


def stack_of(message: Message, size: int) -> int:
    """Return which stack of `size` clients a message's client belongs to, in our own grids."""
    return client_of(message) // size
