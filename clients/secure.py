"""The client's end of secure aggregation: see `fedkd.masking` for what is computed and why.

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
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from ..admission import Rejected
from ..config import SecureConfig
from ..engine.base import round_of
from ..masking import Advert, Secrets, needed
from ..rng import stream
from .exchange import Exchange
from .integers import integers

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
        memory, me, given = _memory(message, context), _who(context), _given(message)
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

    def mask(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Mask what a reply uploads, if the message asks for it: a Flower mod."""
        if RECORD not in message.content.array_records:
            return call_next(message, context)
        memory, me, given = _memory(message, context), _who(context), _given(message)
        if "sharers" in memory.memory:
            raise Refused("asked twice to upload in one round")
        memory["sharers"], memory["sealed"] = given["sharers"].numpy(), given["sealed"].numpy()
        sharers, adverts = memory["sharers"].tolist(), memory.adverts
        self._enough(me, sharers, list(adverts))
        reply = call_next(message, context)
        try:
            vector, clipped = integers(reply.content, self.exchange, self.config, len(adverts))
        except Rejected as reason:
            raise Refused(f"not fit to be summed: {reason}") from reason
        others = [client for client in sharers if client != me]
        masked = memory.secrets.masked(me, adverts, others, vector)
        metrics = reply.content.metric_records["metrics"]
        metrics["clipped"] = clipped / max(1, len(vector))
        records = {n: r for n, r in reply.content.items() if n not in ("knowledge", "arrays")}
        reply.content = RecordDict({**records, RECORD: ArrayRecord({"vector": Array(masked)})})
        return reply

    def unmask(self, message: Message, context: Context) -> Message:
        """Give away shares: of its b for each who uploaded, of its mask key for each other."""
        memory, me = _memory(message, context), _who(context)
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


def explained(
    answer: Callable[[Message, Context], Message],
) -> Callable[[Message, Context], Message]:
    """Let a handler say where an exception came from."""

    def handle(message: Message, context: Context) -> Message:
        try:
            return answer(message, context)
        except (Refused, ValueError) as error:
            where = f"client {_who(context)}, round {round_of(message)}"
            raise RuntimeError(f"{where}, {message.metadata.message_type}: {error}") from error

    return handle


def _who(context: Context) -> int:
    return int(context.node_config["partition-id"])


def _given(message: Message) -> ArrayRecord:
    return message.content.array_records[RECORD]


def _memory(message: Message, context: Context) -> Round:
    """Return what the client remembers of this round."""
    memory = Round(context.state.array_records.get(RECORD, ArrayRecord()))
    if memory["round"].tolist() != [round_of(message)]:
        raise Refused("its secrets are of another round")
    return memory


def _matrix(rows: list[bytes]) -> np.ndarray[Any, Any]:
    """Return byte strings of one length as ``[rows, length]``."""
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)


def _reply(message: Message, name: str, array: np.ndarray[Any, Any]) -> Message:
    content = RecordDict({RECORD: ArrayRecord({name: Array(array)}), "about": ConfigRecord()})
    return Message(content, reply_to=message)
