"""One message being answered: who asks whom for what, with which model and which data."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from torch import Tensor, nn

from ..distillation.base import Objective
from ..engine.base import MEASURED, round_of
from ..engine.gathering import seconds
from ..engine.state import ClientState, Memory
from ..knowledge import Target, kind_named, to_tensor
from ..models.finite import is_finite
from ..score import DIVERGED
from ..tasks.rows import samples_at
from .base import Client, ClientLoop
from .parts import Parts
from .workbench import Workbench, workbench


@dataclass(frozen=True)
class Tools:
    """What every message of an app is answered with."""

    spec: str
    state: ClientState
    parts: Parts
    measures: bool = True
    """whether the simulation may look at what no method may see"""


@dataclass
class Phase:
    """One message being answered.

    Attributes
    ----------
    index, round : int
        The client and the round.
    options : dict
        The message's configuration.
    """

    tools: Tools
    message: Message
    context: Context
    name: str

    def __post_init__(self) -> None:
        self.started = seconds()
        self.index = int(self.context.node_config["partition-id"])
        self.round = round_of(self.message)
        self.bench: Workbench = workbench(self.tools.spec)
        factory = self.tools.parts.models[self.index]
        self.memory: Memory = self.tools.state.load(
            self.context, lambda: self.bench.model(self.index, factory)
        )
        configs = self.message.content.config_records
        self.options: dict[str, Any] = dict(configs.get("config", ConfigRecord()))
        self.broadcast: str | None = None  # names the model, if several clients have it

    @cached_property
    def client(self) -> Client:
        """What the training loop works on."""
        client = self.bench.client(
            self.index, self.round, self.name, self.memory.model, self.options
        )
        client.tensors = self.memory.tensors
        client.loss = self.tools.parts.task.loss
        self.tools.parts.privacy.select(client)
        if self.options.get("flip-labels"):  # a hostile client's: see attacks/label_flip.py
            client.y = self.classes - 1 - client.y
        return client

    @property
    def loop(self) -> ClientLoop:
        """The training loop, which heeds the run's guards."""
        return self.tools.parts.guarded

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.bench.federation.classes

    def objective(self) -> Objective:
        """Return a fresh distillation objective, as it is in this round."""
        return self.tools.parts.objective_at(self.round)

    def build(self, spec: Any, name: str) -> nn.Module:
        """Return another model of this client, initialised from its own stream `name`."""
        return self.bench.model(self.index, spec, name)

    def other(self, client: int) -> nn.Module:
        """Return a model like that of another client."""
        return self.bench.model(client, self.tools.parts.models[client])

    def target(self) -> Target | None:
        """Return the teacher that came with the message, if one did."""
        record = self.message.content.array_records.get("teacher")
        if record is None:
            return None
        temperature = float(self.options.get("temperature", 1.0))
        kind = kind_named(str(self.options["kind"]), self.tools.parts.exchange.kind)
        return Target.read(record, kind, temperature)

    def transfer(self) -> tuple[Tensor, Tensor]:
        """Return the round's transfer samples and their ids: the numbers of their rows."""
        record = self.message.content.array_records.get("transfer")
        if record is None:
            return self.bench.transfer, torch.arange(self.bench.transfer_rows)
        ids = to_tensor(record["sample_ids"]).long()
        return self.bench.transfer[samples_at(ids, self.bench.each)], ids

    def evaluate(self) -> dict[str, float]:
        """Return the task's metrics if the message asks: on ``evaluate`` samples, 0 = all."""
        if "evaluate" not in self.options:
            return {}
        started = seconds()
        with self.tools.parts.exchange.measuring(self):
            result = self._measures()
        return result | {"seconds_evaluate": seconds() - started}

    def _measures(self) -> dict[str, float]:
        """Return the metrics of the client's model as it is."""
        task, samples = self.tools.parts.task, int(self.options["evaluate"]) or None
        x, y = self.bench.test(samples)
        logits = self.bench.once((self.broadcast, len(y)), lambda: self.measured(x, y))
        result = self.bench.scores(task, self.index, logits, samples)
        if (own := self.bench.federation.own_test(self.index)) is not None:
            result.pop("local_se", None)  # all of them are tested
            result |= self._scored("local", *own)
        held = self.bench.federation.validation(self.index)
        if len(held[1]):
            result["validation"] = self._scored("validation", *held)["validation"]
        if not logits.isfinite().all():
            result[DIVERGED] = 1.0
        return result

    def _scored(self, where: str, x: Tensor, y: Tensor) -> dict[str, float]:
        """Return the task's metrics on the client's own samples; nan where there are none."""
        task = self.tools.parts.task
        if not len(y):
            others = [name for name in task.measures if name.endswith(f"_{where}")]
            return dict.fromkeys([where, *others], math.nan)
        weights = torch.ones(len(y), dtype=torch.float64)
        numbers = task.metrics(self.measured(x, y), y, weights, self.bench.federation.targets)
        return task.named(numbers, where)

    def measured(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what the task keeps of logits that nobody but the simulation will see."""
        exchange, task = self.tools.parts.exchange, self.tools.parts.task
        size = task.at_once or max(len(x), 1)
        self.client.exact = False
        try:
            parts = list(zip(x.split(size), y.split(size), strict=True))
            kept = [task.condensed(exchange.predict(self, one), targets) for one, targets in parts]
            return kept[0] if len(kept) == 1 else torch.cat(kept)
        finally:
            self.client.exact = True

    def reply(self, records: dict[str, Any]) -> Message:
        """Commit the client's memory and build the reply.

        All that a client says leaves through here: ``metrics`` may be seen by the method, unless a
        guarantee keeps them back, ``measured`` is for the simulation's tables alone.
        """
        told, kept = self.tools.parts.privacy.told(records.get("metrics", {}))
        own = {**kept, **records.pop(MEASURED, {})}
        if not is_finite(self.memory.model):
            own[DIVERGED] = 1.0
        own["seconds_phase"] = seconds() - self.started
        records["metrics"] = MetricRecord(told)
        if self.tools.measures:
            records[MEASURED] = MetricRecord(own)
        self.memory.check()
        self.tools.state.commit(self.context, self.memory)
        return Message(RecordDict(records), reply_to=self.message)
