"""Flower mods around all that a client does: crashes, and the client's end of a codec."""

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from ..codecs import Codec
from ..codecs.compression import DOWN, UP, carried, kind_of, replacing
from ..codecs.encoding import decoded, encoded
from ..ending import contained
from ..engine.base import round_of
from ..engine.faults import RECORD
from ..knowledge import kind_named


def crashing(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Raise if the message says so.

    A Flower mod, the outermost one: nothing else of the app has seen the message then.
    """
    if RECORD in message.content.config_records:
        client, kind = context.node_config["partition-id"], message.metadata.message_type
        raise RuntimeError(f"client {client}, round {round_of(message)}, {kind}: crash (simulated)")
    return call_next(message, context)


def surviving(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Have what would end the process, such as ``sys.exit`` in a mod, be the client's failure.

    A Flower mod, outside of all others: other clients live in the process.
    """
    with contained():
        return call_next(message, context)


def compressing(
    codec: Codec, kind: str, message: Message, context: Context, call_next: ClientAppCallable
) -> Message:
    """Decode what a message brings; encode what its reply takes with it.

    A Flower mod, outside of all others but `crashing`: attacks tamper with
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
