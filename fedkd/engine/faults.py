"""Simulated faults: who is lost in which round, drawn from the run's seed alone.

Three kinds, drawn independently for every (client, round):

===============  ================================================================================
``dropped_out``  the client is not contacted in the round (also one that is not available, see
                 ``system.availability``)
``crashed``      its ClientApp raises when it is first asked to train, before it touches anything
``late``         it does what it was first asked to do, but its reply misses the deadline
===============  ================================================================================

A client that is lost stays so for the rest of the round: it gets no teacher and keeps its model (a
late one the model that it has trained). A client that drew several is lost to the first in this
order. `fedkd.engine.Fleet` applies them, so that every engine and every method has the same.

Lateness is decided on a simulated clock: a reply takes a lognormal time with median
`MEDIAN_SECONDS`, and the deadline is where the share ``faults.straggler`` of all replies misses it.
With ``system.deadline`` it is what clients' devices take instead: see `fedkd.engine.system`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from flwr.app import ConfigRecord, Message, RecordDict

from ..config import FaultsConfig
from ..rng import share

MEDIAN_SECONDS = 10.0
"""Median time until a client's reply is there, on the simulated clock."""

SPREAD = 0.5
"""Standard deviation of the logarithm of that time."""

RECORD = "fault"
"""The record of a message that makes the ClientApp raise."""


@dataclass(frozen=True)
class Fault:
    """What befalls a client in a round."""

    kind: str
    """``"dropped_out"``, ``"crashed"`` or ``"late"``; the metric's name in ``clients.parquet``"""
    reason: str

    @property
    def silent(self) -> bool:
        """Whether the client is not even contacted."""
        return self.kind == "dropped_out"

    @property
    def idle(self) -> bool:
        """Whether the client does nothing at all in the round."""
        return self.kind != "late"

    def mark(self, message: Message) -> None:
        """Tell the ClientApp to raise, if it is to crash."""
        if self.kind == "crashed":
            told = RecordDict(dict(message.content))  # other clients may share the content
            told[RECORD] = ConfigRecord({"kind": self.kind})
            message.content = told


class Faults:
    """The faults of a run.

    Parameters
    ----------
    config : FaultsConfig
        Probabilities in [0, 1).
    seed : int
        The run's seed.
    available : sequence of float
        Each client's chance to be there in a round, in [0, 1]; empty = all are.

    Examples
    --------
    >>> faults = Faults(FaultsConfig(dropout=0.2, straggler=0.3, crash=0.2), seed=0)
    >>> {client: fault.kind for client, fault in faults.of_round(range(6), round_=1).items()}
    {0: 'late', 1: 'late', 3: 'late', 5: 'dropped_out'}
    >>> faults.of(0, 1).reason
    'late (simulated): 14.08 s, deadline 13.00 s'
    >>> Faults(FaultsConfig(), seed=0).of_round(range(6), round_=1)
    {}
    >>> Faults(FaultsConfig(), 0, [1.0, 0.0]).of(1, round_=1).reason
    'not available (simulated)'
    """

    def __init__(self, config: FaultsConfig, seed: int, available: Sequence[float] = ()) -> None:
        self.config, self.seed, self.available = config, seed, available

    def of_round(self, clients: Iterable[int], round_: int) -> dict[int, Fault]:
        """Return the faults of a round, by client."""
        drawn = {client: self.of(client, round_) for client in clients}
        return {client: fault for client, fault in drawn.items() if fault is not None}

    def of(self, client: int, round_: int) -> Fault | None:
        """Return what befalls a client in a round."""
        config = self.config
        if self._uniform(client, round_, "dropout") < config.dropout:
            return Fault("dropped_out", "dropped out (simulated)")
        if self.available and self._drawn(client, round_, "availability") > self.available[client]:
            return Fault("dropped_out", "not available (simulated)")
        if self._uniform(client, round_, "crash") < config.crash:
            return Fault("crashed", "crashed (simulated)")
        late = self._uniform(client, round_, "straggler")
        if late < config.straggler:
            took, allowed = _seconds(late), _seconds(config.straggler)
            return Fault("late", f"late (simulated): {took:.2f} s, deadline {allowed:.2f} s")
        return None

    def _uniform(self, client: int, round_: int, kind: str) -> float:
        """Return a number in (0, 1); 1 where the fault is switched off, without drawing."""
        if not getattr(self.config, kind):
            return 1.0
        return self._drawn(client, round_, kind)

    def _drawn(self, client: int, round_: int, kind: str) -> float:
        return share(self.seed, client, round_, f"faults.{kind}")


def _seconds(share: float) -> float:
    """Return the simulated time that this share of all replies exceeds."""
    return MEDIAN_SECONDS * math.exp(SPREAD * NormalDist().inv_cdf(1 - share))
