"""KAFAL: federated active learning; which samples to label, and how to learn from few labels.

Cao, Shi, Yu, Wang, Tao, "Knowledge-Aware Federated Active Learning with Non-IID Data", ICCV 2023,
arXiv 2211.13579. Confidence: certain (official code and its Algorithm 1). Every cycle::

    for t in 0 .. rounds_per_cycle - 1:
        w_k   <- KCFU on client k's labelled pool, from Omega; compensated by Omega if t > 0
        Omega <- sum_k n_k w_k / sum_k n_k                   n_k: labelled samples
    each client picks ceil(budget * its samples) to be labelled, by `sampler` (KSAS: w_k, Omega)

In a cycle's last round all clients take part. The server starts each cycle from a fresh model, as
published, or goes on with the one it has. The published method shares parameters, not soft labels;
``kafal_soft`` is our extension that does. ``rounds`` counts federated rounds, of all cycles.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch

from ..flat import flatten
from ..protocol import Outcome, RoundPlan
from .base import Records
from .cycles import LABELLED, Cycles, Rule
from .parametric import ParameterFusion


class KAFAL(ParameterFusion):
    """Cycles of training on the labelled pools and of asking for labels.

    Parameters
    ----------
    rounds_per_cycle : int
        Federated rounds between two queries, >= 1; 50 in the paper.
    initial : float
        Share of each client's samples labelled from the start, in (0, 1].
    budget : float
        Share of all samples labelled per cycle, in (0, 1].
    budget_rule : {"proportional", "equal"}
        Every client ``ceil(budget * its samples)``, or the same number each.
    reset : bool
        Whether the server's model starts afresh in every cycle.
    balanced : bool
        Balanced softmax in local training; without it and with ``kd_weight=0`` it is FedAvg.
    kd_weight : float
        Weight of the compensation, >= 0.
    beta : float
        Both parameters of the Beta distribution of mixing, > 0.
    absent : {"zero", "max"}
        Compensation weight of classes that a client has no labels of.
    persist : bool
        Whether clients keep their optimiser's state within a cycle.
    milestone : int or None
        Local epoch of a cycle from which the learning rate is a tenth; 260 in the paper.

    Attributes
    ----------
    state : dict
        ``labelled`` ``[clients]``, how many labelled samples each client has, beside what
        `ParameterFusion` has.
    """

    exchange = "kcfu"
    fit_action = "train.kcfu"

    def __init__(
        self,
        rounds_per_cycle: int = 10,
        initial: float = 0.1,
        budget: float = 0.05,
        budget_rule: Rule = "proportional",
        reset: bool = True,
        balanced: bool = True,
        kd_weight: float = 1.0,
        beta: float = 2.0,
        absent: Literal["zero", "max"] = "zero",
        persist: bool = True,
        milestone: int | None = None,
    ) -> None:
        super().__init__()
        self.cycles = Cycles(rounds_per_cycle, initial, budget, budget_rule)
        self.reset = reset
        self.learner: dict[str, Any] = {
            "initial": initial,
            "balanced": balanced,
            "kd_weight": kd_weight,
            "beta": beta,
            "absent": absent,
            "persist": persist,
            "milestone": milestone,
        }

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        return {"name": self.exchange, **self.learner}

    def cohort(self, number: int, drawn: list[int], clients: int) -> list[int]:
        """Return all clients in a cycle's last round, else those that were drawn."""
        return list(range(clients)) if self.cycles.ends(number) else drawn

    def fit_options(self, plan: RoundPlan) -> dict[str, Any]:
        """Say whether a cycle begins, and whether there is something to compensate with."""
        begins = self.cycles.begins(plan.number)
        return {"new-cycle": begins, "compensate": not begins}

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Begin a cycle with a model of its own seed, if it is to start afresh."""
        begins = self.cycles.begins(plan.number) and plan.number > 1
        if begins and self.reset and "fresh" in self.state:
            cycle = self.cycles.number(plan.number)
            self.state["shared.0"] = flatten(plan.server.model(plan.server.models[0], cycle))
            self.state["fresh"] = torch.zeros(plan.server.clients, dtype=torch.bool)
        return super().before_fit(plan)

    def round(self, plan: RoundPlan) -> Outcome:
        """Query at the start of a cycle, then train and average."""
        columns = queried(self.cycles, self.state, plan)
        outcome = super().round(plan)
        outcome.scalars |= columns
        return outcome


def queried(cycles: Cycles, state: dict[str, torch.Tensor], plan: RoundPlan) -> dict[str, Any]:
    """Ask for labels if a cycle begins; return the columns about labels."""
    columns: dict[str, Any] = {}
    if LABELLED not in state:
        state[LABELLED] = cycles.at_first(plan.server)
    elif cycles.begins(plan.number):
        state[LABELLED], columns = cycles.query(plan, state[LABELLED])
    labels = int(state[LABELLED].sum())
    return {"cycle": cycles.number(plan.number), "labels": labels, **columns}
