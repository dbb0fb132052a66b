"""What has happened to the clients of an actor since their snapshot, to be done again elsewhere."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any


class Entry(ABC):
    """One thing that happened.

    Attributes
    ----------
    reads : bool
        Whether it changed nothing at a client.
    """

    reads: bool = False

    @abstractmethod
    def again(self, actor: Any, missing: set[str]) -> Any:
        """Have an actor do it once more; return the call, which brings the missing replies."""


@dataclass(frozen=True)
class Chunk(Entry):
    """Messages that were sent at once.

    Attributes
    ----------
    messages : ObjectRef or list of Message
        Where they are, or themselves if they are small.
    ids : frozenset of str
        Their ids.
    reads : bool
        Whether they change nothing at a client.
    limited : bool
        Whether ``engine.timeout`` holds for them.
    """

    messages: Any
    ids: frozenset[str]
    reads: bool
    limited: bool = False

    def again(self, actor: Any, missing: set[str]) -> Any:
        """Have them handled once more."""
        return actor.handle.remote(self.messages, missing & self.ids)


@dataclass(frozen=True)
class Departure(Entry):
    """Clients that went elsewhere."""

    clients: list[int]

    def again(self, actor: Any, missing: set[str]) -> Any:
        """Have the actor forget them."""
        del missing
        return actor.forget.remote(self.clients)


@dataclass(frozen=True)
class Arrival(Entry):
    """Clients that came from elsewhere: a reference to all that they remember."""

    memory: Any

    def again(self, actor: Any, missing: set[str]) -> Any:
        """Have the actor host them."""
        del missing
        return actor.restore.remote(self.memory)
