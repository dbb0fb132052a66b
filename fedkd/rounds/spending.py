"""What a round costs: bytes, privacy, seconds on the clients' devices and here."""

import time

from ..engine import Fleet
from ..engine.system import VirtualClock
from ..privacy.ledger import Ledger
from .plan import Outcome, RoundPlan


class Spending:
    """What a round has cost since this was made.

    Parameters
    ----------
    fleet : Fleet
        Counts the bytes.
    ledger : Ledger or None
        What clients spend of their privacy, where a mechanism has a formal guarantee.
    clock : VirtualClock or None
        What rounds take on the clients' devices.
    """

    def __init__(self, fleet: Fleet, ledger: Ledger | None, clock: VirtualClock | None) -> None:
        self.fleet, self.ledger, self.clock = fleet, ledger, clock
        self.began, self.up, self.down = time.perf_counter(), fleet.bytes_up, fleet.bytes_down
        self.privacy: dict[str, float] = {}

    def charge(self, plan: RoundPlan, outcome: Outcome) -> None:
        """Note what clients spent of their privacy, whatever became of their replies."""
        if self.ledger is None:
            return
        self.ledger.charge(sorted(outcome.changed & set(plan.cohort)))
        for client in range(self.fleet.clients):
            numbers = outcome.metrics.setdefault(client, {})
            numbers["epsilon"] = self.ledger.guarantee(client)[0]
        epsilon, delta = self.ledger.worst()
        self.privacy = {"epsilon": epsilon, "delta": delta}

    def columns(self, outcome: Outcome) -> dict[str, float]:
        """Return the columns so far; note what the round took on each client's device."""
        sent: dict[str, float] = {
            "bytes_up": self.fleet.bytes_up - self.up,
            "bytes_down": self.fleet.bytes_down - self.down,
        }
        if self.clock is None:
            return sent | self.privacy
        for client, seconds in self.clock.seconds.items():
            outcome.metrics.setdefault(client, {})["virtual_seconds"] = seconds
        return sent | self.clock.columns() | self.privacy

    def seconds(self) -> float:
        """Return the seconds since this was made."""
        return time.perf_counter() - self.began
