"""The cycles of federated active learning: rounds of training, then every client has labels added.

At the start of every cycle but the first each client picks what it would have labelled
(``query.score``) and has it labelled (``query.annotate``). Which samples these are, their scores
and their labels stay at the client; the server hears how many there are.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from flwr.app import RecordDict
from torch import Tensor

from ..errors import RunError
from ..knowledge.admission import Rejected
from ..rounds.protocol import RoundPlan
from .answers import Answer, Bounds, answered

LABELLED = "labelled"
"""Name of the state ``[clients]`` int64: how many labelled samples each client has."""

Rule = Literal["proportional", "equal"]
Lost = dict[int, str]


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

    def at_first(self, sizes: Sequence[int]) -> list[int]:
        """Return how many labelled samples clients of such sizes start with."""
        return [math.ceil(self.initial * size) for size in sizes]

    def parts(self, sizes: Sequence[int]) -> list[int]:
        """Return how many labels clients of such sizes may ask for in a cycle."""
        if self.rule == "equal":
            return [math.ceil(self.budget * sum(sizes) / len(sizes))] * len(sizes)
        return [math.ceil(self.budget * size) for size in sizes]

    def labelled(self, sizes: Sequence[int], number: int) -> list[int]:
        """Return how many labels clients of such sizes have in a round, if all is answered.

        Examples
        --------
        >>> [Cycles(rounds=5, budget=0.5).labelled([100, 40], number) for number in (5, 6, 11)]
        [[10, 4], [60, 24], [100, 40]]
        """
        cycles = self.number(number) - 1
        known = zip(sizes, self.at_first(sizes), self.parts(sizes), strict=True)
        return [min(size, first + cycles * part) for size, first, part in known]

    def first(self, plan: RoundPlan, lost: Lost) -> tuple[Tensor, dict[str, Any]]:
        """Return what `query` does, of the labels that clients have from the start."""
        labelled = torch.tensor(self.at_first(plan.server.sizes))
        answers = self._ask(plan, "query.tally", dict.fromkeys(range(plan.server.clients), 0), lost)
        return _updated(labelled, answers), _balance(answers)

    def query(self, plan: RoundPlan, labelled: Tensor, lost: Lost) -> tuple[Tensor, dict[str, Any]]:
        """Have every client pick samples and get them labelled.

        Parameters
        ----------
        plan : RoundPlan
            The first round of a cycle.
        labelled : Tensor
            ``[clients]`` labelled samples so far.
        lost : dict
            Where to note whose answers are not used, and why; their labels stay as they are known.

        Returns
        -------
        labelled : Tensor
            ``[clients]`` labelled samples now.
        columns : dict
            ``annotated`` and ``cost`` over all clients, ``queried_C`` of each class, ``picks``: a
            digest of what was picked; ``unheard``: clients that never had a model from the server;
            ``imbalance`` and ``absent`` of the labels there are now.
        """
        asked = dict(enumerate(self.parts(plan.server.sizes)))
        scored = self._ask(plan, "query.score", asked, lost)
        granted = {client: answer.requested for client, answer in scored.items()}
        answers = self._ask(plan, "query.annotate", granted, lost)
        queried = torch.stack([answer.queried for answer in answers.values()]).sum(dim=0)
        columns: dict[str, Any] = {
            "annotated": sum(answer.annotated for answer in answers.values()),
            "cost": sum(answer.cost for answer in answers.values()),
            **{f"queried_{label}": count for label, count in enumerate(queried.tolist())},
            "picks": _digest(answer.picks for answer in answers.values()),
            "unheard": sum(answer.unheard for answer in scored.values()),
        }
        return _updated(labelled, answers), columns | _balance(answers)

    def _ask(
        self, plan: RoundPlan, action: str, numbers: dict[int, int], lost: Lost
    ) -> dict[int, Answer]:
        """Return the answers that can be true; without any, the run cannot go on."""
        contents = {
            client: RecordDict({"config": plan.options(samples=number)})
            for client, number in numbers.items()
        }
        sizes, found = plan.server.sizes, dict[int, Answer]()
        for reply in plan.fleet.call(action, contents, plan.number):
            bounds = Bounds(plan.classes, sizes[reply.client], numbers[reply.client])
            try:
                found[reply.client] = answered(action, reply, bounds)
            except Rejected as reason:
                lost[reply.client] = str(reason)
        if not found:
            cause = next(iter(lost.values()), "no replies")
            raise RunError(f"every client failed in {action}; the first: {cause}")
        return found


def _updated(labelled: Tensor, answers: dict[int, Answer]) -> Tensor:
    """Return ``[clients]`` labelled samples, with what clients have answered."""
    labelled = labelled.clone()
    for client, answer in answers.items():
        labelled[client] = answer.labelled.sum()
    return labelled


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _balance(answers: dict[int, Answer]) -> dict[str, float]:
    """Return the columns that say how evenly labels are spread over classes."""
    counts = torch.stack([answer.labelled for answer in answers.values()])
    absent = (counts == 0).sum(dim=1).double().mean().item()
    return {"imbalance": imbalance(counts.sum(dim=0)), "absent": absent}


def imbalance(counts: Tensor) -> float:
    """Return the imbalance ratio ``max_y n_y / min_y n_y``, at least 1.

    Parameters
    ----------
    counts : Tensor
        ``[classes]`` labels of each class, >= 0. A class without any makes the ratio infinite.

    Examples
    --------
    >>> imbalance(torch.tensor([30, 10, 20])), imbalance(torch.tensor([5, 0]))
    (3.0, inf)
    """
    most, least = int(counts.max()), int(counts.min())
    return most / least if least else math.inf
