"""The round of methods whose teacher is for private training: base of FD, FedProto, FedHeNN, ...

A client needs it before its fit. It is sent when it is made to those who took part; who was away,
or was lost on the way, is sent the newest one with its next request to fit.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from ..knowledge import Teacher
from ..rounds.protocol import Outcome, RoundPlan
from .base import FusionStrategy, Records


class Newest(FusionStrategy):
    """Keeps the newest teacher at the server, for those who do not have it.

    Attributes
    ----------
    taught : str
        The kind of knowledge that it is.
    state : dict
        ``teacher`` ``[rows, dim]`` and ``known`` ``[rows]`` bool, the newest teacher and the
        rows that it has (the mean, where each client has a teacher of its own), and
        ``fresh`` ``[clients]`` bool: who has it.
    """

    taught: ClassVar[str]

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Send the newest teacher to those who do not have it."""
        if "teacher" not in self.state:
            return {}
        behind = [client for client in plan.cohort if not self.state["fresh"][client]]
        newest = Teacher(self.taught, self.state["teacher"], behind, self.state["known"])
        return super().lessons(plan, replace(newest, extras=self.beside()))

    def lessons(self, plan: RoundPlan, teacher: Teacher) -> Mapping[int, Records]:
        """Remember the teacher, which nobody has yet; send it to those who took part."""
        values = teacher.values if teacher.shared else teacher.values.mean(dim=0)
        known = torch.ones(len(values)).bool() if teacher.mask is None else teacher.mask
        fresh = torch.zeros(plan.server.clients, dtype=torch.bool)
        self.state |= {"teacher": values, "known": known, "fresh": fresh}
        return super().lessons(plan, replace(teacher, extras=self.beside()))

    def after_round(self, plan: RoundPlan, outcome: Outcome) -> None:
        """Note who has the newest teacher: who was sent it, or had it, and was not lost."""
        if "fresh" in self.state:
            reached = plan.cohort if outcome.knowledge is None else outcome.knowledge.clients
            self._mark(client for client in reached if client not in outcome.rejected)

    def _mark(self, clients: Iterable[int]) -> None:
        marks: Tensor = self.state["fresh"].clone()
        marks[list(clients)] = True
        self.state["fresh"] = marks


class ClassFusion(Newest):
    """What is taught is known of each class: a row is a class."""

    taught = "class_knowledge"
    needs_classes = True
