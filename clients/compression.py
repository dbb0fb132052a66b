"""The client's end of a codec."""

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from ..codecs import Codec
from ..codecs.compression import DOWN, UP, carried, kind_of, replacing
from ..codecs.encoding import decoded, encoded
from ..knowledge import kind_named


def compressing(
    codec: Codec, kind: str, message: Message, context: Context, call_next: ClientAppCallable
) -> Message:
    """Decode what a message brings; encode what its reply takes with it.

    A Flower mod, outside of all others but `fedkd.clients.faults.crashing`: attacks tamper with
    plain numbers, and what they send is encoded like any other. `kind` is that of what the client
    uploads.
    """
    content, message_type = message.content, message.metadata.message_type
    for name in carried(content, DOWN, message_type) if codec.down else ():
        taught = kind_named(kind_of(content), kind)
        record = decoded(codec.downward(), content.array_records[name], taught)
        message.content = content = replacing(content, name, record)
    reply = call_next(message, context)
    content = reply.content
    for name in carried(content, UP, message_type) if codec.up else ():
        record = encoded(codec, content.array_records[name], kind_of(content, "about"))
        reply.content = content = replacing(content, name, record)
    return reply
