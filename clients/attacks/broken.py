"""A client whose numbers are broken: what `fedkd check` sends to a strategy."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable

from ...engine.base import MEASURED
from .base import Attack

UPLOADS = ("knowledge", "arrays")
"""The records of a reply that a strategy uses."""


class NotANumber(Attack):
    """Replies with NaN, whatever is exchanged; the server must not let it in.

    Every client's ``spoilt`` in the tables says how many numbers of its reply became NaN.
    """

    kinds = None

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Let an honest client be; put NaN into what a hostile one uploads."""
        reply, spoilt = super().__call__(message, context, call_next), 0
        if int(context.node_config["partition-id"]) in self.hostile:
            for name in UPLOADS:
                if name in reply.content:
                    spoilt += _spoil(reply.content.array_records[name])
        if MEASURED in reply.content:
            reply.content.metric_records[MEASURED]["spoilt"] = spoilt
        return reply


def _spoil(record: ArrayRecord) -> int:
    """Replace the first float array by NaN; return how many numbers that are."""
    for name, array in record.items():
        values = array.numpy()
        if np.issubdtype(values.dtype, np.floating):
            record[name] = Array(np.full_like(values, np.nan))
            return int(values.size)
    return 0
