"""Simulated crashes, at the client, and real ones that would take others along."""

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from ..engine.base import round_of
from ..engine.faults import RECORD
from ..exits import contained


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
