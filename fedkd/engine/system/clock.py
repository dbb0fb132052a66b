"""The virtual clock: how long rounds would take on the clients' devices.

A phase is a message to each of some clients, and their replies: training, or a stage of secure
aggregation. The server waits for the slowest, or until ``system.deadline`` in training, and takes
no time itself. A client takes::

    bytes down / bandwidth_down + operations / speed + bytes up / bandwidth_up

Bytes are those that travel, encoded and masked as they are. Who fails costs what it was sent. What
the simulation asks (accuracies, snapshots) costs nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flwr.app import Message

from .devices import Device

Operations = Callable[[int, Message], float]
"""(client, message) -> floating-point operations that it takes the client to answer."""


class VirtualClock:
    """Adds up virtual seconds.

    Parameters
    ----------
    devices : sequence of Device
        Each client's.
    operations : callable
        What answering a message takes.
    deadline : float or None
        Virtual seconds of a training phase after which a reply is late.

    Attributes
    ----------
    elapsed : float
        Virtual seconds of all rounds before this one.
    seconds : mapping of int to float
        What clients have been busy with in the round, those that were late included.
    """

    def __init__(
        self, devices: Sequence[Device], operations: Operations, deadline: float | None = None
    ) -> None:
        self.devices, self.operations, self.deadline = devices, operations, deadline
        self.elapsed = 0.0
        self.seconds: dict[int, float] = defaultdict(float)
        self._phases: list[float] = []
        self._asked: dict[int, float] = {}

    @property
    def round(self) -> float:
        """Virtual seconds of the round so far."""
        return sum(self._phases)

    def begin(self) -> None:
        """Begin a round."""
        self.elapsed += self.round
        self.seconds.clear()
        self._phases = []

    def ask(self, messages: Mapping[int, Message], more: bool) -> None:
        """Note what clients are asked, before it is encoded, in a new phase or in more of one."""
        self._asked = {k: self.operations(k, message) for k, message in messages.items()}
        if not more:
            self._phases.append(0.0)

    def answered(
        self, down: Mapping[int, int], up: Mapping[int, int], training: bool
    ) -> dict[int, str]:
        """Note what travelled; return who is late, and how the tables' reader is told.

        Parameters
        ----------
        down : mapping
            Bytes that each client was sent.
        up : mapping
            Bytes that came back; who failed is missing.
        training : bool
            Whether there is a deadline.
        """
        late = {}
        limit = self.deadline if training and self.deadline is not None else float("inf")
        for client, size in down.items():
            operations = self._asked[client] if client in up else 0.0
            took = self.devices[client].seconds(operations, up.get(client, 0), size)
            self.seconds[client] += took
            self._phases[-1] = max(self._phases[-1], min(took, limit))
            if client in up and took > limit:
                late[client] = f"late (simulated): {took:.4g} virtual s, system.deadline={limit:g}"
        return late

    def columns(self) -> dict[str, float]:
        """Return what the round took, and all rounds to its end, for the tables."""
        return {"virtual_seconds": self.round, "virtual_time": self.elapsed + self.round}

    def save(self) -> dict[str, Any]:
        """Return what `load` takes, JSON-ready."""
        return {"virtual_time": self.elapsed + self.round}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned."""
        self.elapsed = float(saved.get("virtual_time", 0.0))
