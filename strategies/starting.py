"""Base of the methods that share a part of a model which, at first, is the same for all."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..clients.exchange.shared_part import Weighting
from ..knowledge import KnowledgeStack, Teacher
from ..models.flat import flatten, unpack
from ..rounds.protocol import RoundPlan
from ..rounds.server import Server
from .base import Records
from .sharing import PartFusion


class CommonStart(PartFusion):
    """Averages a part of models whose rest starts alike, and is then each client's own.

    Who takes part for the first time is sent a whole model: the shared part as it is by then, and
    the rest as it was for all, drawn from the run's seed for each architecture.

    Parameters
    ----------
    weighting : {"samples", "uniform"}
        Whether clients count by the samples that they train on, or evenly.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        See `ParameterFusion`, and ``met`` ``[clients]``: who has had a first model.
    """

    def __init__(self, weighting: Weighting = "samples", **base: float | None) -> None:
        super().__init__(**base)
        self.weighting = weighting
        self.pass_on(weighting=weighting)

    def common(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean of the clients' parts, ``[size]``."""
        if self.weighting == "uniform":
            return knowledge.values.mean(dim=0)
        return super().common(knowledge)

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Send the shared part to those who do not have it, a whole model to newcomers."""
        nobody = torch.zeros(plan.server.clients, dtype=torch.bool)
        # who is up to date has answered, and so has had its first model
        self.state["met"] = self.state.get("met", nobody) | self.state.get("fresh", nobody)
        records, starts = dict(super().before_fit(plan)), dict[int, Tensor]()
        for client in plan.cohort:
            if self.state["met"][client]:
                continue
            architecture = id(plan.server.instances[client])  # one for all clients that have it
            if architecture not in starts:
                starts[architecture] = self._start(plan.server, client)
            start = starts[architecture]
            whole = Teacher("parameters", start, [client], extras=self.beside()).records()
            records[client] = {"teacher": whole[client]}
        return records

    def _start(self, server: Server, client: int) -> Tensor:
        """Return a first model ``[size of all]`` with what its group shares by now."""
        model = server.initial(client)
        unpack(self.part(model), self.state[f"shared.{self.groups(server)[client]}"])
        return flatten(model)
