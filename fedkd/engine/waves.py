"""Waves: where messages are many and large, only some of them are there at a time."""

from collections import deque
from collections.abc import Callable

from flwr.app import Message

from ..knowledge.payload import payload_bytes

CLIENTS, BYTES = 256, 2**28
"""A wave has at least so many messages, and more until they and their replies are so large: who
waits for a wave's last reply then waits for a small part of it."""


def next_wave(
    waiting: deque[int], make: Callable[[int], Message], bytes_of: Callable[[int], int]
) -> list[Message]:
    """Return the messages to the next clients, which are then no longer waiting.

    Parameters
    ----------
    waiting : deque of int
        Who is to be sent a message, in order.
    make : callable
        ``client -> Message``.
    bytes_of : callable
        Bytes that a client's reply may have.

    Examples
    --------
    >>> from types import SimpleNamespace as Stub  # a Message needs a run around it
    >>> from flwr.app import RecordDict
    >>> waiting, message = deque(range(1000)), Stub(content=RecordDict())
    >>> len(next_wave(waiting, lambda client: message, lambda client: 2**19)), len(waiting)
    (512, 488)
    """
    messages: list[Message] = []
    size = 0
    while waiting and (len(messages) < CLIENTS or size < BYTES):
        client = waiting.popleft()
        messages.append(make(client))
        size += payload_bytes(messages[-1].content) + bytes_of(client)
    return messages
