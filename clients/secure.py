"""The client's end of secure aggregation: see `fedkd.secure.masking` for what is computed and why.

====================  =============================================================================
``query.advertise``   publishes the round's public keys
``query.share``       is sent everybody's; answers with encrypted shares of its secrets, one each
``train...``          is sent the shares that are for it; uploads masked integers
``query.unmask``      is sent who has uploaded; answers with its shares of what is to be restored
====================  =============================================================================

Between them a client keeps its secrets and what it was sent in ``Context.state``, from a round's
first message to its last. It checks what it can: that its own keys are among those it is sent and
no two are alike, that enough clients are there in every stage, that a share comes from whom it is
said to come. It uploads once and answers the last message once, and never gives away both shares of
one client.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from ..config import SecureConfig
from ..engine.base import MEASURED, round_of
from ..knowledge.admission import Rejected
from ..rng import stream
from ..secure.masking import Secrets, needed
from .exchange import Exchange
from .integers import integers
from .secrets import RECORD, Refused, Round, remembered


class Masking:
    """Answers the messages of secure aggregation.

    Parameters
    ----------
    config : SecureConfig
        Threshold, integers, and where keys come from.
    seed : int
        The run's seed.
    exchange : Exchange
        Says what a client's knowledge weighs.
    """

    def __init__(self, config: SecureConfig, seed: int, exchange: Exchange) -> None:
        self.config, self.seed, self.exchange = config, seed, exchange

    def advertise(self, message: Message, context: Context) -> Message:
        """Begin a round: make secrets, publish what belongs to them."""
        client, round_ = _who(context), round_of(message)
        before = context.state.array_records.get(RECORD)
        if before is not None and before["round"].numpy().tolist() == [round_]:
            raise Refused("asked twice for keys in one round")
        number = stream(self.seed, client, round_, RECORD)
        seeded = hashlib.sha256(number.to_bytes(8)).digest()
        seed = os.urandom(32) if self.config.rng == "os" else seeded
        parts = {"round": np.array([round_]), "seed": np.frombuffer(seed, np.uint8)}
        context.state[RECORD] = ArrayRecord({name: Array(part) for name, part in parts.items()})
        return _reply(message, "advert", np.frombuffer(Secrets(seed).advert().data, np.uint8))

    def share(self, message: Message, context: Context) -> Message:
        """Share the secrets among those who published keys."""
        memory, me, given = remembered(message, context), _who(context), _given(message)
        if "adverts" in memory.memory:
            raise Refused("asked twice for shares in one round")
        memory["clients"], memory["adverts"] = given["clients"].numpy(), given["adverts"].numpy()
        secrets, adverts = memory.secrets, memory.adverts
        if adverts.get(me) != secrets.advert():
            raise Refused("its own keys are not among those it was sent")
        keys = {key for advert in adverts.values() for key in (advert.mask, advert.cipher)}
        if len(keys) < 2 * len(adverts) or len(adverts) < 2:
            raise Refused("keys of two clients are alike, or there is no other client")
        shares = secrets.shares(me, adverts, needed(self.config.threshold, len(adverts)))
        return _reply(message, "sealed", _matrix(shares))

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Mask what a reply uploads, if the message asks for it: a Flower mod."""
        if RECORD not in message.content.array_records:
            return call_next(message, context)
        with _explained(message, context):
            memory = self._joined(message, context)
        reply = call_next(message, context)
        with _explained(message, context):
            reply.content = self._masked(reply.content, _who(context), memory)
        return reply

    def _joined(self, message: Message, context: Context) -> Round:
        """Note who else uploads, if it is enough of those with keys."""
        memory, given = remembered(message, context), _given(message)
        if "sharers" in memory.memory:
            raise Refused("asked twice to upload in one round")
        memory["sharers"], memory["sealed"] = given["sharers"].numpy(), given["sealed"].numpy()
        self._enough(_who(context), memory["sharers"].tolist(), memory["clients"].tolist())
        return memory

    def _masked(self, content: RecordDict, me: int, memory: Round) -> RecordDict:
        """Return a reply's content with masked integers in place of what is uploaded."""
        adverts = memory.adverts
        try:
            vector, clipped = integers(content, self.exchange, self.config, len(adverts))
        except Rejected as reason:
            raise Refused(f"not fit to be summed: {reason}") from reason
        others = [client for client in memory["sharers"].tolist() if client != me]
        masked = memory.secrets.masked(me, adverts, others, vector)
        if MEASURED in content:
            content.metric_records[MEASURED]["clipped"] = clipped / max(1, len(vector))
        kept = {n: record for n, record in content.items() if n not in ("knowledge", "arrays")}
        return RecordDict({**kept, RECORD: ArrayRecord({"vector": Array(masked)})})

    def unmask(self, message: Message, context: Context) -> Message:
        """Give away shares: of its b for each who uploaded, of its mask key for each other."""
        memory, me = remembered(message, context), _who(context)
        sharers, adverts, sealed = memory["sharers"].tolist(), memory.adverts, memory["sealed"]
        survivors = _given(message)["survivors"].numpy().tolist()
        self._enough(me, survivors, sharers, len(adverts))
        secrets, shares = memory.secrets, []
        for client, data in zip(sharers, sealed, strict=True):
            pair = secrets.opened(me, client, adverts[client], data.tobytes())
            shares.append(pair[0 if client in survivors else 1])
        context.state[RECORD] = ArrayRecord({"round": memory.memory["round"]})  # it answers once
        return _reply(message, "shares", _matrix(shares))

    def _enough(self, me: int, some: list[int], of: list[int], total: int | None = None) -> None:
        """Refuse unless `some`, itself among them, are enough of those known so far."""
        least = needed(self.config.threshold, total or len(of))
        if len(set(some)) != len(some) or not {me} <= set(some) <= set(of) or len(some) < least:
            raise Refused(f"{len(some)} clients are left, itself among them: not as it must be")


def register(app: ClientApp, masking: Callable[[Context], Masking]) -> None:
    """Have an app answer the three messages that are not training."""
    for stage in (Masking.advertise, Masking.share, Masking.unmask):
        app.query(stage.__name__)(_handler(stage, masking))


def _handler(
    stage: Callable[[Masking, Message, Context], Message], masking: Callable[[Context], Masking]
) -> Callable[[Message, Context], Message]:
    def handle(message: Message, context: Context) -> Message:
        with _explained(message, context):
            return stage(masking(context), message, context)

    return handle


@contextmanager
def _explained(message: Message, context: Context) -> Iterator[None]:
    """Say which client does not go on, where, and why."""
    try:
        yield
    except (Refused, ValueError) as error:
        where = f"client {_who(context)}, round {round_of(message)}"
        raise RuntimeError(f"{where}, {message.metadata.message_type}: {error}") from error


def _who(context: Context) -> int:
    return int(context.node_config["partition-id"])


def _given(message: Message) -> ArrayRecord:
    return message.content.array_records[RECORD]


def _matrix(rows: list[bytes]) -> np.ndarray[Any, Any]:
    """Return byte strings of one length as ``[rows, length]``."""
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)


def _reply(message: Message, name: str, array: np.ndarray[Any, Any]) -> Message:
    content = RecordDict({RECORD: ArrayRecord({name: Array(array)}), "about": ConfigRecord()})
    return Message(content, reply_to=message)
