"""The server's end of secure aggregation: see `fedkd.secure.masking` for what is computed and why.

`Sum` goes through the stages of one round.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict

from ..config import SecureConfig
from ..engine import Reply
from ..flower import private_key, public_key
from ..knowledge.admission import Rejected
from ..rounds.protocol import Outcome, RoundPlan
from ..secure.fixedpoint import Integers, Layout
from ..secure.masking import ADVERT_BYTES, KEY_BYTES, Advert, committed, needed, unmasked
from ..secure.shamir import SHARE_BYTES, combine, lagrange
from ..secure.summing import Sums

RECORD = "secure"
"""The record of messages that belongs to secure aggregation."""


class Sum:
    """One round's sum over clients, from the first key to the last share.

    Parameters
    ----------
    plan : RoundPlan
        The round.
    config : SecureConfig
        Its secure aggregation.
    outcome : Outcome
        Where to note who is lost, and why.
    """

    def __init__(self, plan: RoundPlan, config: SecureConfig, outcome: Outcome) -> None:
        self.plan, self.config, self.outcome = plan, config, outcome
        self.adverts: dict[int, Advert] = {}
        self.sealed: dict[int, np.ndarray[Any, Any]] = {}

    @property
    def least(self) -> int:
        """How many clients it takes to restore a secret."""
        return needed(self.config.threshold, len(self.adverts))

    def open(self) -> None:
        """Exchange keys, and shares of secrets."""
        cohort = dict.fromkeys(self.plan.cohort, RecordDict())
        found = self._ask("query.advertise", cohort, "advert", (ADVERT_BYTES,))
        self.adverts = {client: Advert(row.tobytes()) for client, row in found.items()}
        self._enough(found, len(self.plan.cohort))
        clients, rows = np.array(list(found), np.int32), np.stack(list(found.values()))
        everybody = RecordDict({RECORD: _record(clients=clients, adverts=rows)})
        asked = dict.fromkeys(found, everybody)
        self.sealed = self._ask("query.share", asked, "sealed", (len(found), None))
        self._enough(self.sealed)

    def invitations(self) -> dict[int, ArrayRecord]:
        """Return what goes to each client that is to upload: the shares that are for it."""
        places = {client: place for place, client in enumerate(self.adverts)}
        sharers = np.array(list(self.sealed), np.int32)
        return {
            client: _record(
                sharers=sharers,
                sealed=np.stack([rows[places[client]] for rows in self.sealed.values()]),
            )
            for client in self.sealed
        }

    def uploads(self, replies: Sequence[Reply], layout: Layout) -> dict[int, Integers]:
        """Return the integers of those whose upload is what was asked for."""
        found: dict[int, Integers] = {}
        for reply in replies:
            try:
                found[reply.client] = _array(reply, "vector", layout.dtype, (layout.size,))
            except Rejected as reason:
                self.outcome.rejected[reply.client] = str(reason)
        return found

    def close(self, found: dict[int, Integers], layout: Layout) -> Sums:
        """Have the survivors restore what it takes, and return the sums."""
        self._enough(found)
        survivors = list(found)
        total = np.sum(list(found.values()), axis=0, dtype=layout.dtype)
        asked = RecordDict({RECORD: _record(survivors=np.array(survivors, np.int32))})
        shape = (len(self.sealed), SHARE_BYTES)
        calls = dict.fromkeys(survivors, asked)
        shares = self._ask("query.unmask", calls, "shares", shape, lose=False)
        self._enough(shares)
        secrets = self._restored(dict(list(shares.items())[: self.least]))
        owns = [secrets[client] for client in survivors]
        for client, own in zip(survivors, owns, strict=True):
            _fits(client, committed(own) == self.adverts[client].commitment)
        lost = {k: private_key(secrets[k]) for k in self.sealed if k not in survivors}
        for client, key in lost.items():
            _fits(client, public_key(key) == self.adverts[client].mask)
        self.outcome.scalars["unmasked_dropouts"] = len(lost)
        return layout.decode(unmasked(total, owns, lost, self.adverts, survivors))

    def _restored(self, shares: Mapping[int, np.ndarray[Any, Any]]) -> dict[int, bytes]:
        """Return the secret of each client that has shared its own."""
        weights = lagrange([helper + 1 for helper in shares])
        found = {}
        for row, client in enumerate(self.sealed):
            own = {helper + 1: rows[row].tobytes() for helper, rows in shares.items()}
            found[client] = combine(own, KEY_BYTES, weights)
        return found

    def _ask(
        self,
        action: str,
        contents: Mapping[int, RecordDict],
        name: str,
        shape: tuple[int | None, ...],
        lose: bool = True,
    ) -> dict[int, np.ndarray[Any, Any]]:
        """Return what clients answer, in their order; who does not answer is lost."""
        found = {}
        for reply in self.plan.fleet.call(action, contents, self.plan.number):
            try:
                found[reply.client] = _array(reply, name, np.dtype(np.uint8), shape)
            except Rejected as reason:
                if lose:
                    self.outcome.rejected[reply.client] = str(reason)
        return found

    def _enough(self, clients: Mapping[int, Any], total: int | None = None) -> None:
        least = needed(self.config.threshold, total) if total else self.least
        if len(clients) < least:
            problem = f"secure aggregation: {len(clients)} clients are left, it takes {least}"
            raise Rejected(problem)


def _fits(client: int, fits: bool) -> None:
    if not fits:
        raise Rejected(f"secure aggregation: shares of client {client} do not fit its keys")


def _record(**arrays: np.ndarray[Any, Any]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.ascontiguousarray(a)) for name, a in arrays.items()})


def _array(reply: Reply, name: str, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> Any:
    """Return an array of a reply, if it is of this type and shape (None = of any length)."""
    if reply.content is None:
        raise Rejected(reply.error or "no reply")
    try:
        array = reply.content.array_records[RECORD][name].numpy()
    except Exception as error:  # whatever a hostile record makes numpy or Flower raise
        raise Rejected(f"unreadable: {type(error).__name__}") from error
    lengths = zip(array.shape, shape, strict=False)
    if len(array.shape) != len(shape) or any(n not in (got, None) for got, n in lengths):
        raise Rejected(f"shape: {name} is {list(array.shape)}, expected {list(shape)}")
    if array.dtype != dtype:
        raise Rejected(f"dtype: {name} is {array.dtype}, expected {dtype}")
    return array
