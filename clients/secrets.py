"""What a client remembers of a round of secure aggregation, in its ``Context.state``."""

from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message

from ..engine.base import round_of
from ..secure.masking import Advert, Secrets

RECORD = "secure"
"""The record of messages, and of ``Context.state``, that belongs to secure aggregation."""


class Refused(Exception):
    """The client does not go on with the protocol; the text is the reason."""


class Round:
    """What a client knows of the round under way."""

    def __init__(self, memory: ArrayRecord) -> None:
        self.memory = memory

    def __getitem__(self, name: str) -> Any:
        """Return an array, or refuse if the protocol has not come that far."""
        if name not in self.memory:
            raise Refused("out of order")
        return self.memory[name].numpy()

    def __setitem__(self, name: str, value: np.ndarray[Any, Any]) -> None:
        self.memory[name] = Array(np.ascontiguousarray(value))

    @property
    def secrets(self) -> Secrets:
        """The client's own secrets."""
        return Secrets(self["seed"].tobytes())

    @property
    def adverts(self) -> dict[int, Advert]:
        """What everybody has published, by client."""
        rows = zip(self["clients"].tolist(), self["adverts"], strict=True)
        return {client: Advert(row.tobytes()) for client, row in rows}


def remembered(message: Message, context: Context) -> Round:
    """Return what the client remembers of this round."""
    memory = Round(context.state.array_records.get(RECORD, ArrayRecord()))
    if memory["round"].tolist() != [round_of(message)]:
        raise Refused("its secrets are of another round")
    return memory
