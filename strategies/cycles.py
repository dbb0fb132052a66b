"""The cycles of federated active learning: rounds of training, then every client has labels added.

At the start of every cycle but the first each client picks what it would have labelled
(``query.score``) and has it labelled (``query.annotate``). Which samples these are, their scores
and their labels stay at the client; the server hears how many there are.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from flwr.app import RecordDict
from torch import Tensor

from ..protocol import RoundPlan
from ..server import Server

LABELLED = "labelled"
"""Name of the state ``[clients]`` int64: how many labelled samples each client has."""

Rule = Literal["proportional", "equal"]


@dataclass(frozen=True)
class Cycles:
    """When labels are asked for, and how many.

    Parameters
    ----------
    rounds : int
        Federated rounds of a cycle, >= 1.
    initial : float
        Share of each client's samples labelled from the start, in (0, 1].
    budget : float
        Share of all samples labelled per cycle, in (0, 1].
    rule : {"proportional", "equal"}
        A client's part: ``ceil(budget * its samples)``, or the same number for everybody. Who has
        fewer unlabelled samples than that has them all labelled.

    Examples
    --------
    >>> cycles = Cycles(rounds=5)
    >>> [(cycles.number(r), cycles.begins(r), cycles.ends(r)) for r in (1, 5, 6)]
    [(1, True, False), (1, False, True), (2, True, False)]
    """

    rounds: int = 10
    initial: float = 0.1
    budget: float = 0.05
    rule: Rule = "proportional"

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds_per_cycle={self.rounds} must be at least 1")
        for name, share in (("initial", self.initial), ("budget", self.budget)):
            if not 0 < share <= 1:
                raise ValueError(f"{name}={share} must be in (0, 1]")

    def number(self, round_: int) -> int:
        """Return the cycle of a round, from 1."""
        return (round_ - 1) // self.rounds + 1

    def begins(self, round_: int) -> bool:
        """Say whether a round is its cycle's first."""
        return (round_ - 1) % self.rounds == 0

    def ends(self, round_: int) -> bool:
        """Say whether a round is its cycle's last."""
        return round_ % self.rounds == 0

    def at_first(self, server: Server) -> Tensor:
        """Return how many labelled samples each client starts with ``[clients]``."""
        return torch.tensor([math.ceil(self.initial * size) for size in self._sizes(server)])

    def parts(self, server: Server) -> list[int]:
        """Return how many labels each client may ask for in a cycle."""
        sizes = self._sizes(server)
        if self.rule == "equal":
            sizes = [sum(sizes) / len(sizes)] * len(sizes)
        return [math.ceil(self.budget * size) for size in sizes]

    def _sizes(self, server: Server) -> list[float]:
        return [len(server.federation.indices(client)) for client in range(server.clients)]

    def query(self, plan: RoundPlan, labelled: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Have every client pick samples and get them labelled.

        Parameters
        ----------
        plan : RoundPlan
            The first round of a cycle.
        labelled : Tensor
            ``[clients]`` labelled samples so far.

        Returns
        -------
        labelled : Tensor
            ``[clients]`` labelled samples now.
        columns : dict
            ``annotated`` and ``cost`` over all clients, ``queried_C`` of each class, ``picks``: a
            digest of what was picked.
        """
        asked = dict(enumerate(self.parts(plan.server)))
        scored = self._ask(plan, "query.score", asked)
        granted = {client: int(numbers["requested"]) for client, numbers in scored.items()}
        answers = self._ask(plan, "query.annotate", granted)
        labelled = labelled.clone()
        for client, numbers in answers.items():
            labelled[client] += int(numbers["annotated"])
        names = ["annotated", "cost", *(f"queried_{c}" for c in range(plan.classes))]
        sums = {name: sum(numbers[name] for numbers in answers.values()) for name in names}
        return labelled, sums | {"picks": _digest(n["picks"] for n in answers.values())}

    def _ask(
        self, plan: RoundPlan, action: str, numbers: dict[int, int]
    ) -> dict[int, dict[str, Any]]:
        contents = {
            client: RecordDict({"config": plan.options(samples=number)})
            for client, number in numbers.items()
        }
        replies = plan.fleet.call(action, contents, plan.number)
        return {
            reply.client: {
                **reply.ok.metric_records["metrics"],
                **reply.ok.config_records.get("about", {}),
            }
            for reply in replies
        }


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
