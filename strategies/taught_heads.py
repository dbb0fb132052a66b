"""Base of the methods whose server trains a head on what clients say of their features."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..knowledge import KnowledgeStack, Teacher
from ..models.features import head
from ..models.flat import flatten, unflatten
from ..models.parts import top
from ..models.sgd import sgd
from ..rounds.protocol import RoundPlan
from .sharing import PartFusion


class HeadTraining(PartFusion):
    """Trains a head for each group of clients whose heads have one shape, whatever is below.

    Parameters
    ----------
    epochs : int
        Passes over a round's rows at the server, at least 0.
    lr : float
        Its learning rate, > 0.
    batch_size : int
        Its batch size, at least 1.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    reduction : {"mean", "sum"}
        What is made of the losses of a batch.
    """

    lesson_kind = "parameters"
    parts = "heads"
    sums_only = False
    needs_classes = True
    reduction: ClassVar[Literal["mean", "sum"]] = "mean"
    brief: ClassVar[Mapping[str, Any]] = {"epochs": 5}

    def __init__(self, epochs: int, lr: float, batch_size: int, **base: float | None) -> None:
        super().__init__(**base)
        if epochs < 0:
            raise ValueError(f"epochs={epochs} must be at least 0")
        if batch_size < 1 or not lr > 0:
            raise ValueError(f"batch_size={batch_size} must be at least 1, lr={lr} greater than 0")
        self.epochs, self.lr, self.batch_size = epochs, lr, batch_size

    @abstractmethod
    def rows(self, knowledge: KnowledgeStack) -> tuple[Tensor, Tensor]:
        """Return features ``[rows, dim]`` and the classes' shares in them ``[rows, classes]``."""

    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the head."""
        return top(model)

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean over clients; it is not sent, but what `refine` learns from each."""
        return knowledge.mean()

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Train the group's head, from how it was, on what this round's clients sent."""
        client = knowledge.clients[0]
        model = head(plan.server.initial(client))
        unflatten(model, self.state[f"shared.{self.groups(plan.server)[client]}"])
        self.train(model, *ordered(*self.rows(knowledge)), plan.seed)
        return Teacher("parameters", flatten(model), teacher.clients)

    def train(self, model: nn.Module, x: Tensor, shares: Tensor, seed: int) -> None:
        """Train a head in place by SGD on ``-sum_c shares_c log softmax(head(x))_c``."""
        generator = torch.Generator().manual_seed(seed)
        optimizer = sgd(model.parameters(), self.lr)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x), generator=generator).split(self.batch_size):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[rows]), shares[rows], reduction=self.reduction)
                loss.backward()
                optimizer.step()


def ordered(x: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Put rows in an order that does not depend on how clients are numbered."""
    order = x.double().sum(dim=1).argsort(stable=True)
    order = order[shares[order].argmax(dim=1).argsort(stable=True)]
    return x[order], shares[order]
