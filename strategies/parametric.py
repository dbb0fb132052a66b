"""The round of methods that share parameters: base of FedDF, FML, LG-FedAvg and others.

Clients whose model has one layout form a group with one shared vector. Before its first fit, and
after rounds without it, a client receives its group's vector; after fusion, everybody who took part
does.
"""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from ..flat import flatten, layout
from ..knowledge import Knowledge, KnowledgeStack, Teacher, stack
from ..protocol import Outcome, RoundPlan
from ..server import Server
from .base import FusionStrategy, Records


class ParameterFusion(FusionStrategy):
    """Averages parameters, weighted by how many samples each client trained on.

    Override `fuse` for another mean, `polish` for what the server does with it, `group` and
    `first` where not the whole model is shared.

    Attributes
    ----------
    state : dict
        ``shared.N`` ``[size]`` of the N-th group, and ``fresh`` ``[clients]``: who has it.
    """

    exchange = "parameters"
    homogeneous = True

    def group(self, server: Server, client: int) -> Hashable:
        """Return what clients must have in common to share parameters."""
        return layout(server.instances[client])

    def first(self, server: Server, client: int) -> Tensor:
        """Return the parameters ``[size]`` that the group of a client starts from."""
        return flatten(server.model(server.models[client]))

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return ``sum_n samples_n * theta_n / sum_n samples_n``, ``[size]``."""
        samples = knowledge.extras["samples"]
        return (samples / samples.sum() * knowledge.values).sum(dim=0)

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Return what the server makes of this round's means, ``{group: [size]}``."""
        del plan, admitted
        return shared

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Send the shared parameters to those who do not have them."""
        groups = self.groups(plan.server)
        if not self.state:
            self.state["fresh"] = torch.zeros(plan.server.clients, dtype=torch.bool)
            for client, number in sorted(groups.items()):
                if f"shared.{number}" not in self.state:
                    self.state[f"shared.{number}"] = self.first(plan.server, client)
        behind = [client for client in plan.cohort if not self.state["fresh"][client]]
        return self._lessons(groups, behind)

    def teach(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], outcome: Outcome
    ) -> tuple[str, Mapping[int, Records]]:
        """Fuse group by group."""
        groups = self.groups(plan.server)
        shared: dict[int, Tensor] = {}
        for number in sorted({groups[one.client] for one in admitted}):
            members = [one for one in admitted if groups[one.client] == number]
            shared[number] = self.fused(plan, stack(members), outcome).values
        shared = self.polish(plan, admitted, shared)
        self.state |= {f"shared.{number}": vector for number, vector in shared.items()}
        present = [one.client for one in admitted]
        self.state["fresh"] = torch.zeros(plan.server.clients, dtype=torch.bool)
        self.state["fresh"][present] = True
        return "parameters", self._lessons(groups, present)

    def groups(self, server: Server) -> dict[int, int]:
        """Return each client's group, numbered in the order of clients."""
        keys = [self.group(server, client) for client in range(server.clients)]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        return {client: numbers[key] for client, key in enumerate(keys)}

    def _lessons(self, groups: Mapping[int, int], clients: Sequence[int]) -> dict[int, Records]:
        lessons: dict[int, Records] = {}
        for number in sorted({groups[client] for client in clients}):
            members = [client for client in clients if groups[client] == number]
            teacher = Teacher("parameters", self.state[f"shared.{number}"], members)
            lessons |= {client: {"teacher": record} for client, record in teacher.records().items()}
        return lessons
