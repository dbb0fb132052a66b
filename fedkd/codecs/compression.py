"""Messages made smaller on their way: what is encoded of them, and the server's end of it."""

from collections.abc import Callable, Iterable, Sequence

from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from ..knowledge.payload import SLACK_BYTES, SLACK_FACTOR, oversize
from . import Codec, Undecodable
from .encoding import decoded, encoded

DOWN, UP = ("teacher", "arrays"), ("knowledge", "arrays")
"""The records that go to clients, and that come from them."""


def carried(content: RecordDict, names: Sequence[str], message_type: str) -> list[str]:
    """Return those of the records `names` that are encoded, where a message has them.

    Training is encoded, and the model that clients are measured with. What a client remembers goes
    into checkpoints and comes back from there as it is.

    Examples
    --------
    >>> content = RecordDict({"arrays": ArrayRecord()})
    >>> [carried(content, DOWN, kind) for kind in ("train", "query.evaluate", "query.restore")]
    [['arrays'], ['arrays'], []]
    """
    encodes = message_type.startswith("train") or message_type == "query.evaluate"
    return [name for name in names if encodes and name in content.array_records]


def kind_of(content: RecordDict, record: str = "config") -> str:
    """Return the kind of knowledge in a message; Flower's own strategies do not say parameters."""
    return str(content.config_records.get(record, ConfigRecord()).get("kind", "parameters"))


def replacing(content: RecordDict, name: str, record: ArrayRecord) -> RecordDict:
    """Return a message's content with one record replaced; others may share the original."""
    made = RecordDict(dict(content))
    made[name] = record
    return made


class Compression:
    """The server's end: encodes what goes to the clients, decodes what comes.

    Parameters
    ----------
    codec : Codec
        Makes numbers smaller.
    bytes_of : callable
        Bytes of the numbers that a client is asked for, to refuse what is far larger.
    kind : str
        Kind of what clients upload; what a reply says of itself is for admission to judge.
    """

    def __init__(self, codec: Codec, bytes_of: Callable[[int], int], kind: str) -> None:
        self.codec, self.downward, self.bytes_of = codec, codec.downward(), bytes_of
        self.kind = kind

    def outgoing(self, messages: Iterable[Message]) -> None:
        """Encode what messages bring; what several share, once."""
        known: dict[tuple[int, str], tuple[ArrayRecord, ArrayRecord]] = {}
        for message in messages if self.codec.down else ():
            content = message.content
            for name in carried(content, DOWN, message.metadata.message_type):
                record, kind = content.array_records[name], kind_of(content)
                if (id(record), kind) not in known:  # it is kept, so that no other gets its id
                    known[id(record), kind] = record, encoded(self.downward, record, kind)
                content = replacing(content, name, known[id(record), kind][1])
            message.content = content

    def incoming(self, client: int, reply: Message, size: int) -> str | None:
        """Decode what a reply of `size` bytes brings; if that cannot be done, say why."""
        if not self.codec.up:
            return None
        content = reply.content
        names = carried(content, UP, reply.metadata.message_type)
        if not names:
            return None
        expected = self.bytes_of(client)
        if (problem := oversize(size, expected)) is not None:  # before anything is decoded
            return problem
        limit = SLACK_FACTOR * expected + SLACK_BYTES
        try:
            for name in names:
                record = decoded(self.codec, content.array_records[name], self.kind, limit)
                content = replacing(content, name, record)
        except Undecodable as reason:
            return f"undecodable: {reason}"
        reply.content = content
        return None
