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
from typing import Any

import torch

from ..models.flat import flatten
from ..rounds.protocol import RoundPlan
from .active import ActiveLearning
from .base import Records
from .parametric import ParameterFusion


class KAFAL(ActiveLearning, ParameterFusion):
    """Cycles of training on the labelled pools and of asking for labels.

    Without `balanced` and with ``kd_weight=0`` it trains as FedAvg does.

    Parameters
    ----------
    reset : bool
        Whether the server's model starts afresh in every cycle.
    milestone : int or None
        Local epoch of a cycle from which the learning rate is a tenth; 260 in the paper.
    **active
        See `ActiveLearning`; the paper has 50 rounds per cycle.

    Attributes
    ----------
    state : dict
        ``labelled`` ``[clients]``, how many labelled samples each client has, beside what
        `ParameterFusion` has.
    """

    exchange = "kcfu"
    one_model = False  # samplers compare what a client has trained with what it was sent

    def __init__(self, *, reset: bool = True, milestone: int | None = None, **active: Any) -> None:
        super().__init__(**active)
        self.reset = reset
        self.learner["milestone"] = milestone

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Begin a cycle with a model of its own seed, if it is to start afresh."""
        begins = self.cycles.begins(plan.number) and plan.number > 1
        if begins and self.reset and "fresh" in self.state:
            cycle = self.cycles.number(plan.number)
            self.state["shared.0"] = flatten(plan.server.model(plan.server.models[0], cycle))
            self.state["fresh"] = torch.zeros(plan.server.clients, dtype=torch.bool)
        return super().before_fit(plan)
