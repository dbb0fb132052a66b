"""What FedGen's published code does around its methods: steps, rates, whose statistics are whose.

A fit is a number of batches from an iterator that goes on where it stopped. The learning rate falls
from round to round. After a round all users get the server's model, whether they took part or not,
and the running statistics of BatchNorm stay with each user.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...clients.base import Client
from ...clients.exchange.base import Exchange
from ...clients.exchange.generated import Generated
from ...clients.exchange.logits_beside import LogitsBeside
from ...clients.exchange.parameters import Parameters
from ...clients.exchange.phase import Phase
from ...clients.optimisers import make_optimizer
from ...clients.standard import Standard, proximal_term
from ...knowledge import Knowledge, Target
from ...rounds.protocol import Outcome, RoundPlan
from ...strategies import fd, feddistill_plus, fedgen
from ...strategies.base import FusionStrategy, Records
from ...strategies.parametric import ParameterFusion

RATE = "rate"
"""Option of a fit: factor of the learning rate."""

DECAY = 0.99

ORDER, PLACE = "loader-order", "loader-place"
"""A client's tensors: the rows of the pass under way, and how many of them are done."""


class Steps(Standard):
    """A fit is `steps` batches of an iterator that goes on where the last fit stopped.

    Rows that do not fill a batch at the end of a pass are left out of it; who has fewer rows than a
    batch has all of them in each.

    Parameters
    ----------
    steps : int
        Batches of a fit, at least 1.
    shuffle : bool
        Whether each pass has an order of its own, or all that of the client's memory.
    **settings
        The run's.
    """

    def __init__(self, steps: int = 20, shuffle: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        if steps < 1:
            raise ValueError(f"steps={steps} must be at least 1")
        self.steps, self.shuffle = steps, shuffle

    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        """Train on private data; return the mean loss over the steps."""
        return [{"loss_fit": self._steps(client)} for client in clients]

    def _steps(self, client: Client) -> float:
        settings = client.settings(self.fit_config)
        rate = settings["lr"] * float(client.options.get(RATE, 1.0))
        optimizer = make_optimizer(client.model.train(), settings | {"lr": rate}, None)
        mu = float(client.options.get("proximal-mu", 0.0))
        penalty = proximal_term(client.model, mu) if mu else None
        total = 0.0
        for rows in self.batches(client, settings["batch_size"]):
            optimizer.zero_grad()
            logits, labels = client.model(client.x[rows]), client.y[rows]
            loss = self.private_loss(client, logits, labels)
            if client.extra_loss is not None:
                client.rows = rows
                loss = loss + client.extra_loss(logits, labels)
            if penalty is not None:
                loss = loss + penalty()
            loss.backward()
            optimizer.step()
            total += loss.item()
        optimizer.zero_grad()
        return total / self.steps

    def batches(self, client: Client, size: int) -> Iterator[Tensor]:
        """Yield the rows of each step."""
        size = min(size, len(client.y))
        for _ in range(self.steps):
            place = int(client.tensors[PLACE]) if PLACE in client.tensors else len(client.y)
            if place + size > len(client.y):
                client.tensors[ORDER], place = self._order(client), 0
            client.tensors[PLACE] = torch.tensor(place + size)
            yield client.tensors[ORDER][place : place + size]

    def _order(self, client: Client) -> Tensor:
        if self.shuffle:
            return torch.randperm(len(client.y), generator=client.generator)
        return torch.arange(len(client.y))


class OwnStatistics(Exchange):
    """Keeps what BatchNorm has seen with the client, of exchanges that take the server's model."""

    def receive(self, phase: Phase, target: Target) -> None:
        """Take the parameters alone."""
        buffers = [one for one in phase.client.model.buffers() if one.is_floating_point()]
        before = [one.clone() for one in buffers]
        super().receive(phase, target)
        for buffer, own in zip(buffers, before, strict=True):
            buffer.copy_(own)


class OwnParameters(OwnStatistics, Parameters):
    """Uploads the model."""


class OwnLogits(OwnStatistics, LogitsBeside):
    """Uploads the model, and the mean logits of each label."""


class OwnGenerated(OwnStatistics, Generated):
    """Uploads the model, and learns from a generator."""


class Falling(FusionStrategy):
    """Has the learning rate fall from round to round."""

    def fit_options(self, plan: RoundPlan) -> dict[str, Any]:
        """Tell clients what is left of it."""
        return {**super().fit_options(plan), RATE: DECAY ** (plan.number - 1)}


class Everywhere(Falling, ParameterFusion):
    """Sends the server's model to all clients after a round: they are measured with it."""

    exchange = f"{__name__}:OwnParameters"

    def teach(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], outcome: Outcome
    ) -> tuple[str, Mapping[int, Records]]:
        """Fuse as ever; teach everybody."""
        kind, _ = super().teach(plan, admitted, outcome)
        everybody = range(plan.server.clients)
        self._mark(everybody, True)
        return kind, self._lessons(self.groups(plan.server), everybody)


class FedAvg(Everywhere):
    """The mean of the clients' parameters."""


class FedProx(Everywhere):
    """FedAvg whose clients are held near the server's model.

    Parameters
    ----------
    mu : float
        Weight of the proximal term, at least 0.
    """

    def __init__(self, mu: float = 1.0) -> None:
        super().__init__()
        if not mu >= 0:
            raise ValueError(f"mu={mu} must be at least 0")
        self.mu = mu

    def fit_options(self, plan: RoundPlan) -> dict[str, Any]:
        """Tell clients its weight, too."""
        return {**super().fit_options(plan), "proximal-mu": self.mu}


class FedDistill(Falling, fd.FD):
    """Mean logits per label; nobody shares a model."""


class FedDistillPlus(Everywhere, feddistill_plus.FedDistillPlus):
    """FedAvg, and mean logits per label."""

    exchange = f"{__name__}:OwnLogits"


class FedGen(Everywhere, fedgen.FedGen):
    """FedAvg, and a generator."""

    exchange = f"{__name__}:OwnGenerated"
