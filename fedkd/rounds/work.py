"""What clients compute: operations of their models, counted and not timed.

A forward pass takes what the architecture takes (`fedkd.models.counting`), a training step three
times that, its backward pass twice. Only passes through models count: what a method computes
beside (densities, a discriminator) does not, nor does the optimiser.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from flwr.app import ConfigRecord, Message
from torch import nn

from ..config import RunConfig
from ..engine.base import round_of
from ..knowledge import kind_named
from ..models.counting import products
from ..models.shapes import Shape
from .protocol import Strategy
from .server import Server
from .timing import Workload

TRAINING = 3
"""Forward passes that a training step is worth."""

Count = Callable[[nn.Module, Shape], float]
"""(model, shape of a sample) -> what a forward pass of one sample takes."""


class Work:
    """What clients compute in a run.

    Parameters
    ----------
    config : RunConfig
        The run's.
    strategy : Strategy
        Says what is fitted in a round, on how much.
    server : Server
        Knows the models.
    kind : str
        The kind of knowledge that clients exchange.
    sizes : sequence of int
        Samples that each client trains on.
    count : callable
        What a forward pass takes.
    """

    def __init__(
        self,
        config: RunConfig,
        strategy: Strategy,
        server: Server,
        kind: str,
        sizes: Sequence[int],
        count: Count,
    ) -> None:
        self.config, self.strategy, self.server = config, strategy, server
        self.kind, self.sizes, self.count = kind, sizes, count
        self._loads: tuple[int, list[Workload]] = 0, []
        self._beside: dict[Any, float] = {}

    @cached_property
    def forward(self) -> list[float]:
        """What a forward pass of one sample takes each client's model."""
        kinds = {id(model): model for model in self.server.instances}
        shape = self.server.federation.shape
        each = {key: self.count(model, shape) for key, model in kinds.items()}
        return [each[id(model)] for model in self.server.instances]

    def __call__(self, client: int, message: Message) -> float:
        """Return what it takes a client to answer a message."""
        options = message.content.config_records.get("config", ConfigRecord())
        if not message.metadata.message_type.startswith("train"):
            return 0.0
        if message.metadata.message_type == "train.finish":  # a look at its own samples
            return self.sizes[client] * self.forward[client]
        transfer = message.content.array_records.get("transfer")
        samples = None
        if transfer is not None:
            samples = transfer["sample_ids"].shape[0] // self.server.each
        if message.metadata.message_type == "train.distil":
            taught = kind_named(str(options.get("kind", self.kind)), self.kind).on_samples
            there = "teacher" in message.content.array_records
            each = self._distil(client, samples) if taught and there else 0.0
            return each * self.strategy.offered
        fit = 0.0 if options.get("skip-fit") else self._fit(client, round_of(message))
        return fit + (self._label(client, samples) if options.get("upload") else 0.0)

    def expected(self, number: int) -> list[float]:
        """Return what a round takes each client, if it takes part."""
        strategy, clients = self.strategy, range(len(self.sizes))
        some = self.config.transfer.per_round
        found = [self._fit(client, number) for client in clients]
        if strategy.exchange is not None:
            found = [have + self._label(k, some) for k, have in enumerate(found)]
            if kind_named(strategy.lesson_kind or self.kind, self.kind).on_samples:
                times = self.strategy.offered
                found = [have + times * self._distil(k, some) for k, have in enumerate(found)]
        return found

    def _fit(self, client: int, number: int) -> float:
        if self._loads[0] != number:
            self._loads = number, self.strategy.workloads(number, self.sizes)
        load = self._loads[1][client]
        each = (TRAINING * load.steps + load.passes) * self.forward[client]
        if load.beside is not None:
            each += TRAINING * self._model_beside(load.beside)
        return self.config.fit.epochs * load.samples * each

    def _label(self, client: int, samples: int | None) -> float:
        if not kind_named(self.kind).on_samples:
            return 0.0
        return self._samples(samples) * self.forward[client]

    def _distil(self, client: int, samples: int | None) -> float:
        passes = TRAINING * self.config.distil.epochs + (self.config.guard["name"] != "none")
        return passes * self._samples(samples) * self.forward[client]

    def _samples(self, some: int | None) -> int:
        size = self.server.federation.transfer_size
        return size if some is None else min(some, size)

    def _model_beside(self, spec: Any) -> float:
        if spec not in self._beside:
            shape = self.server.federation.shape
            self._beside[spec] = self.count(self.server.model(spec), shape)
        return self._beside[spec]


def expected_work(
    config: RunConfig, strategy: Strategy, server: Server, kind: str, sizes: Sequence[int]
) -> list[float]:
    """Return about what the first round takes each client, relative to one another."""
    alike = len({id(model) for model in server.instances}) == 1
    count = (lambda model, shape: 1.0) if alike else products
    return Work(config, strategy, server, kind, sizes, count).expected(1)
