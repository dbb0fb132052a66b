"""The ClientApp: real Flower messages in, real Flower messages out.

=====================  ============================================================================
``query.hello``        answers with the partition id
``train.fit``          fit, then label the round's transfer samples: replies with knowledge
``train.distil``       learn from a teacher
``train`` (default)    for Flower's own strategies: load the arrays, fit, reply with the arrays
``query.evaluate``     accuracy of the client's model, or of the arrays in the message
``query.snapshot``     the client's model
=====================  ============================================================================

`client_app` closes over one JSON spec; a deployed app reads the same JSON from Flower's run config.
"""

import copy
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from torch import Tensor

from ..distillation.base import TeacherBatch
from ..engine.state import ClientState, ContextState, Memory, load_record, state_record
from ..knowledge import Knowledge, to_record, to_tensor
from ..rng import scoped
from .exchange import KINDS
from .parts import Parts
from .workbench import Workbench, workbench


@dataclass
class Phase:
    """One message being answered: who, when, with what."""

    app: "App"
    message: Message
    context: Context
    name: str

    def __post_init__(self) -> None:
        self.started = time.perf_counter()
        self.index = int(self.context.node_config["partition-id"])
        self.round = round_of(self.message)
        self.bench: Workbench = workbench(self.app.spec)
        factory = self.app.parts.models[self.index]
        self.memory: Memory = self.app.state.load(
            self.context, lambda: self.bench.model(self.index, factory)
        )
        configs = self.message.content.config_records
        self.options: dict[str, Any] = dict(configs.get("config", ConfigRecord()))
        self.client = self.bench.client(
            self.index, self.round, self.name, self.memory.model, self.options
        )
        self.client.tensors = self.memory.tensors
        self.broadcast: str | None = None  # digest of a model that all clients received

    def transfer(self) -> tuple[Tensor, Tensor]:
        """Return the round's transfer samples and their ids."""
        record = self.message.content.array_records.get("transfer")
        if record is None:
            return self.bench.transfer, torch.arange(len(self.bench.transfer))
        ids = to_tensor(record["sample_ids"]).long()
        return self.bench.transfer[ids], ids

    def evaluate(self) -> dict[str, float]:
        """Return accuracies if the message asks for them (``evaluate`` = test samples, 0 = all)."""
        if "evaluate" not in self.options:
            return {}
        started = time.perf_counter()
        x, y = self.bench.test(int(self.options["evaluate"]) or None)
        logits = self.bench.once(
            (self.broadcast, len(y)), lambda: self.app.loop.predict([self.client], x)[0]
        )
        result = self.bench.accuracy(self.index, logits, y)
        held_x, held_y = self.bench.federation.validation(self.index)
        if len(held_y):
            guess = self.app.loop.predict([self.client], held_x)[0].argmax(dim=1)
            result["validation"] = (guess == held_y).double().mean().item()
        return result | {"seconds_evaluate": time.perf_counter() - started}

    def reply(self, records: dict[str, Any]) -> Message:
        """Commit the client's memory and build the reply."""
        records["metrics"] = MetricRecord(
            {**records.get("metrics", {}), "seconds_phase": time.perf_counter() - self.started}
        )
        self.app.state.commit(self.context, self.memory)
        return Message(RecordDict(records), reply_to=self.message)


class App:
    """The handlers behind the ClientApp.

    Parameters
    ----------
    spec : str
        The run's JSON spec.
    state : ClientState
        Where clients keep their models.
    parts : Parts
        Models, loop and objective.
    """

    def __init__(self, spec: str, state: ClientState, parts: Parts) -> None:
        self.spec, self.state, self.parts = spec, state, parts
        self.loop = parts.loop

    def fit(self, phase: Phase) -> Message:
        """Fit; label the transfer samples, or evaluate, if asked to."""
        metrics = self.loop.fit([phase.client])[0] | {"samples": len(phase.client.y)}
        kind = phase.options.get("kind")
        if kind is None:
            return phase.reply({"metrics": metrics | phase.evaluate()})
        x, ids = phase.transfer()
        logits = self.loop.predict([phase.client], x)[0]
        values = KINDS[kind](logits, float(phase.options["temperature"]))
        knowledge = Knowledge(phase.index, kind, values, ids)
        return phase.reply(dict(to_record(knowledge, phase.round, metrics)))

    def distil(self, phase: Phase) -> Message:
        """Learn from the teacher, evaluate if asked."""
        x, _ = phase.transfer()
        values = to_tensor(phase.message.content.array_records["teacher"]["values"])
        teacher = TeacherBatch(values, phase.options["kind"])
        objective = copy.deepcopy(self.parts.objective)
        metrics = self.loop.distil([phase.client], x, [teacher], objective)[0]
        return phase.reply({"metrics": metrics | phase.evaluate()})

    def train(self, phase: Phase) -> Message:
        """Answer one of Flower's own strategies: load its arrays, fit, return the arrays."""
        load_record(phase.memory.model, phase.message.content.array_records["arrays"])
        metrics = self.loop.fit([phase.client])[0] | {"num-examples": len(phase.client.y)}
        arrays = state_record(phase.memory.model)
        return phase.reply({"arrays": arrays, "metrics": metrics})

    def evaluate(self, phase: Phase) -> Message:
        """Measure the client's model; if the message brings arrays, they become its model."""
        if (arrays := phase.message.content.array_records.get("arrays")) is not None:
            load_record(phase.memory.model, arrays)
            data = b"".join(array.data for array in arrays.values())
            phase.broadcast = hashlib.sha256(data).hexdigest()
        return phase.reply({"metrics": phase.evaluate()})

    def snapshot(self, phase: Phase) -> Message:
        """Return the client's model."""
        return phase.reply({"arrays": state_record(phase.memory.model)})


def round_of(message: Message) -> int:
    """Return the round a message belongs to (Flower's strategies put it into their config)."""
    config = message.content.config_records.get("config", ConfigRecord())
    return int(message.metadata.group_id or config.get("server-round", 0))  # type: ignore[arg-type]


def hello(message: Message, context: Context) -> Message:
    """Answer with the partition id."""
    about = ConfigRecord({"client": int(context.node_config["partition-id"])})
    return Message(RecordDict({"about": about}), reply_to=message)


def client_app(
    spec: str,
    *,
    state: ClientState | None = None,
    parts: Parts | None = None,
    mods: Sequence[Mod] = (),
) -> ClientApp:
    """Return fedkd's ClientApp.

    Parameters
    ----------
    spec : str
        The run's JSON spec (``RUN_DIR/spec.json``).
    state : ClientState, optional
        Where clients keep their models; by default in Flower's ``Context.state``.
    parts : Parts, optional
        Ready objects in place of the names in the spec, for simulation.
    mods : sequence
        Flower mods around the two training phases.
    """
    app = ClientApp()
    handlers = App(spec, state or ContextState(), parts or Parts.from_spec(json.loads(spec)))
    app.query("hello")(hello)
    app.query("evaluate")(_handler(handlers, "evaluate"))
    app.query("snapshot")(_handler(handlers, "snapshot"))
    app.train("fit", mods=list(mods))(_handler(handlers, "fit"))
    app.train("distil", mods=list(mods))(_handler(handlers, "distil"))
    app.train(mods=list(mods))(_handler(handlers, "train"))
    return app


def _inputs(app: App, client: int, message: Message) -> str:
    """Describe what a handler was working on when it failed."""
    x, _ = workbench(app.spec).private(client)
    arrays = message.content.array_records.items()
    sent = [f"{name}.{k} {v.shape}" for name, record in arrays for k, v in record.items()]
    return "; ".join([f"private x {tuple(x.shape)}", *sent[:3]])


def _handler(app: App, name: str) -> Any:
    """Wrap a handler: lend it seeded global generators, and say where an exception came from."""

    def handle(message: Message, context: Context) -> Message:
        client, round_ = int(context.node_config["partition-id"]), round_of(message)
        try:
            torch.set_num_threads(1)
            bench = workbench(app.spec)
            with scoped(bench.seed_of(client, round_, f"global.{name}")):
                return getattr(app, name)(Phase(app, message, context, name))
        except Exception as error:
            where = f"client {client}, round {round_}, {message.metadata.message_type}"
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise RuntimeError(f"{where}: {cause} ({_inputs(app, client, message)})") from error

    return handle
