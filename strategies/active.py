"""The round of federated active learning: base of ``kafal`` and its kin."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from ..rounds.protocol import Outcome, RoundPlan
from ..rounds.timing import Workload
from .base import FusionStrategy
from .cycles import LABELLED, Cycles, Rule


class ActiveLearning(FusionStrategy):
    """Asks for labels at the start of every cycle but the first, and has clients fit on theirs.

    Parameters
    ----------
    rounds_per_cycle : int
        Federated rounds between two queries, >= 1.
    initial : float
        Share of each client's samples labelled from the start, in (0, 1].
    budget : float
        Share of all samples labelled per cycle, in (0, 1].
    budget_rule : {"proportional", "equal"}
        Every client ``ceil(budget * its samples)``, or the same number each.
    balanced : bool
        Balanced softmax in local training.
    kd_weight : float
        Weight of the compensation, >= 0.
    beta : float
        Both parameters of the Beta distribution of mixing, > 0.
    absent : {"zero", "max"}
        Compensation weight of classes that a client has no labels of.
    persist : bool
        Whether clients keep their optimiser's state within a cycle.
    """

    needs_classes = True

    fit_action: ClassVar[str] = "train.kcfu"
    brief: ClassVar[Mapping[str, Any]] = {"rounds_per_cycle": 2, "initial": 0.5}

    def __init__(
        self,
        *,
        rounds_per_cycle: int = 10,
        initial: float = 0.1,
        budget: float = 0.05,
        budget_rule: Rule = "proportional",
        balanced: bool = True,
        kd_weight: float = 1.0,
        beta: float = 2.0,
        absent: Literal["zero", "max"] = "zero",
        persist: bool = True,
    ) -> None:
        super().__init__()
        self.cycles = Cycles(rounds_per_cycle, initial, budget, budget_rule)
        self.learner: dict[str, Any] = {
            "initial": initial,
            "balanced": balanced,
            "kd_weight": kd_weight,
            "beta": beta,
            "absent": absent,
            "persist": persist,
        }

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        return {"name": self.exchange, **self.learner}

    def cohort(self, number: int, drawn: list[int], clients: int) -> list[int]:
        """Return all clients in a cycle's last round, else those that were drawn."""
        return list(range(clients)) if self.cycles.ends(number) else drawn

    def fit_options(self, plan: RoundPlan) -> dict[str, Any]:
        """Say whether a cycle begins; there is something to compensate with after its start."""
        begins = self.cycles.begins(plan.number)
        return {"new-cycle": begins, "compensate": not begins}

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return the labelled pools; compensation trains on as many unlabelled samples beside."""
        compensates = self.learner["kd_weight"] > 0 and not self.cycles.begins(number)
        labelled = self.cycles.labelled(sizes, number)
        mixed = [compensates and n < size for n, size in zip(labelled, sizes, strict=True)]
        return [Workload(n, 1 + more, more) for n, more in zip(labelled, mixed, strict=True)]

    def round(self, plan: RoundPlan) -> Outcome:
        """Ask for labels if a cycle begins; then run the method's round."""
        columns: dict[str, Any] = {}
        lost: dict[int, str] = {}
        started = time.perf_counter()
        if LABELLED not in self.state:
            self.state[LABELLED], columns = self.cycles.first(plan, lost)
        elif self.cycles.begins(plan.number):
            self.state[LABELLED], columns = self.cycles.query(plan, self.state[LABELLED], lost)
        seconds = time.perf_counter() - started
        outcome = super().round(plan)
        outcome.rejected = lost | outcome.rejected
        if columns:
            outcome.seconds["query"] = seconds
        labels = int(self.state[LABELLED].sum())
        cycle = self.cycles.number(plan.number)
        outcome.scalars |= {"cycle": cycle, "labels": labels, **columns}
        return outcome
