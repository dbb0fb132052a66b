"""Simulated crashes, at the client."""

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from ..engine.base import round_of
from ..faults import RECORD


def crashing(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Raise if the message says so.

    A Flower mod, the outermost one: nothing else of the app has seen the message then.
    """
    if RECORD in message.content.config_records:
        client, kind = context.node_config["partition-id"], message.metadata.message_type
        raise RuntimeError(f"client {client}, round {round_of(message)}, {kind}: crash (simulated)")
    return call_next(message, context)
