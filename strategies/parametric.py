"""The round of methods that share parameters: base of FedDF, FML, LG-FedAvg and others.

Clients whose model has one layout form a group with one shared vector. Before its first fit, and
after rounds without it, a client receives its group's vector; after fusion, everybody who took part
does, or a vector of its own where the method makes personal ones. Who was away is measured by its
group's vector, too, unless clients have models of their own (`ParameterFusion.one_model`).
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from ..knowledge import Knowledge, KnowledgeStack, Teacher, stack
from ..models.flat import flatten, layout
from ..rounds.protocol import Outcome, RoundPlan
from ..rounds.server import Server
from .base import FusionStrategy, Records


class ParameterFusion(FusionStrategy):
    """Averages parameters, weighted by how many samples each client trained on.

    Override `common` for another mean, `fuse` for personal vectors, `polish` for what the server
    does with the mean, `group` and `first` where not the whole model is shared.

    Attributes
    ----------
    one_model : bool
        Whether everybody goes on from its group's vector, and that alone is the model: clients are
        then measured by it, also those who were away. It is not so where `fuse` is overridden.
    state : dict
        ``shared.N`` ``[size]`` of the N-th group, and ``fresh`` ``[clients]``: who has what the
        server last sent to its group.
    """

    exchange = "parameters"
    homogeneous = True
    one_model: ClassVar[bool] = True

    def group(self, server: Server, client: int) -> Hashable:
        """Return what clients must have in common to share parameters."""
        return layout(server.instances[client])

    def first(self, server: Server, client: int) -> Tensor:
        """Return the parameters ``[size]`` that the group of a client starts from."""
        return flatten(server.initial(client))

    def common(self, knowledge: KnowledgeStack) -> Tensor:
        """Return ``sum_n samples_n * theta_n / sum_n samples_n``, ``[size]``."""
        samples = knowledge.extras["samples"].clamp_min(1)  # who claims none must not divide by 0
        return (samples / samples.sum() * knowledge.values).sum(dim=0)

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return what those who took part receive: `common`, or a row each, ``[clients, size]``.

        If it is a row each, `common` is for those who were away, and for the state.
        """
        return self.common(knowledge)

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Return what the server makes of this round's means, ``{group: [size]}``."""
        del plan, admitted
        return shared

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Send the shared parameters to those who do not have them."""
        groups = self.groups(plan.server)
        if "fresh" not in self.state:
            self.state["fresh"] = torch.zeros(plan.server.clients, dtype=torch.bool)
            for client, number in sorted(groups.items()):
                if f"shared.{number}" not in self.state:
                    self.state[f"shared.{number}"] = self.first(plan.server, client)
        behind = [client for client in plan.cohort if not self.state["fresh"][client]]
        self._mark(plan.cohort, False)  # they train now, and may then be lost or skipped
        return self._lessons(groups, behind)

    def teach(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], outcome: Outcome
    ) -> tuple[str, Mapping[int, Records]]:
        """Fuse group by group."""
        groups = self.groups(plan.server)
        shared: dict[int, Tensor] = {}
        personal: dict[int, Teacher] = {}
        for number in sorted({groups[one.client] for one in admitted}):
            knowledge = stack([one for one in admitted if groups[one.client] == number])
            teacher = self.fused(plan, knowledge, outcome)
            shared[number] = teacher.values
            if not teacher.shared:
                shared[number], personal[number] = self.common(knowledge), teacher
        shared = self.polish(plan, admitted, shared)
        self.state |= {f"shared.{number}": vector for number, vector in shared.items()}
        present = [one.client for one in admitted]
        self._mark([client for client, number in groups.items() if number in shared], False)
        self._mark(present, True)
        return "parameters", self._lessons(groups, present, personal)

    def after_round(self, plan: RoundPlan, outcome: Outcome) -> None:
        """Note that who did not get its last message is behind."""
        self._mark(list(outcome.rejected), False)

    def standing(self, server: Server) -> Mapping[int, Records]:
        """Return what clients are sent before their next fit, where all of a group share that."""
        if not self._shares:
            return super().standing(server)
        groups = self.groups(server)
        there = [client for client, number in groups.items() if f"shared.{number}" in self.state]
        return self._lessons(groups, there)

    @property
    def _shares(self) -> bool:
        """Whether clients are measured by what their group shares."""
        return self.one_model and type(self).fuse is ParameterFusion.fuse

    def _distil(
        self, plan: RoundPlan, kind: str, lessons: Mapping[int, Records], outcome: Outcome
    ) -> None:
        """Send every client its teacher; a model that many share is measured once, and not here."""
        plan = replace(plan, evaluate=None) if self._shares else plan
        super()._distil(plan, kind, lessons, outcome)

    def groups(self, server: Server) -> dict[int, int]:
        """Return each client's group, numbered in the order of clients."""
        keys = [self.group(server, client) for client in range(server.clients)]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        return {client: numbers[key] for client, key in enumerate(keys)}

    def _mark(self, clients: Sequence[int], fresh: bool) -> None:
        marks = self.state["fresh"].clone()
        marks[torch.tensor(clients, dtype=torch.int64)] = fresh
        self.state["fresh"] = marks

    def _lessons(
        self,
        groups: Mapping[int, int],
        clients: Sequence[int],
        personal: Mapping[int, Teacher] | None = None,
    ) -> dict[int, Records]:
        """Return what these clients are sent: personal vectors where there are, else the shared."""
        lessons: dict[int, Records] = {}
        for number in sorted({groups[client] for client in clients}):
            members = [client for client in clients if groups[client] == number]
            shared = Teacher("parameters", self.state[f"shared.{number}"], members)
            teacher = replace((personal or {}).get(number, shared), extras=self.beside())
            lessons |= {client: {"teacher": record} for client, record in teacher.records().items()}
        return lessons
