"""What a client does for each message, but for active learning and secure sums.

See `app` for the messages; `queries` and `secure` have the others.
"""

import hashlib
import platform
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict

from ..engine.base import MEASURED
from ..engine.state import OWN_KEYS, load_record, state_record, tensors_of
from ..knowledge import to_record
from ..knowledge.arrays import to_arrays
from ..models.flat import flatten
from .aligning import aligning
from .choosing import choose
from .phase import Phase, Tools
from .secrets import RECORD
from .workbench import workbench

CONTEXT = "context."
"""Prefix of the records that a snapshot takes from ``Context.state``."""


def hello(own: Tools, message: Message, context: Context) -> Message:
    """Answer with the partition id, once the data are there.

    Raises
    ------
    RuntimeError
        If they are not.
    """
    try:
        _ = workbench(own.spec).federation.clients  # opens the data, or raises
    except OSError as error:
        where = f"{error.filename} cannot be opened on {platform.node()} ({error.strerror})"
        remedy = "every machine needs the run directory and FEDKD_CACHE_DIR under the same paths"
        raise RuntimeError(f"{where}; {remedy}") from error
    about = ConfigRecord({"client": int(context.node_config["partition-id"])})
    return Message(RecordDict({"about": about}), reply_to=message)


def fit(phase: Phase) -> Message:
    """Fit; upload knowledge, or evaluate, if asked to."""
    exchange, target = phase.tools.parts.exchange, phase.target()
    if target is not None:
        exchange.receive(phase, target)
    # a hostile client may skip it: see attacks/free_rider.py
    metrics = {} if phase.options.get("skip-fit") else exchange.fit(phase)
    measured: dict[str, float] = {"samples": len(phase.client.y)}
    if not phase.options.get("upload"):
        return phase.reply({"metrics": metrics, MEASURED: measured | phase.evaluate()})
    with aligning(phase):
        knowledge = exchange.declared(phase, exchange.upload(phase))
    return phase.reply({**to_record(knowledge, phase.round, metrics), MEASURED: measured})


def finish(phase: Phase) -> Message:
    """Take in the teacher, if one comes along; upload what is asked for after the last round."""
    exchange, target = phase.tools.parts.exchange, phase.target()
    if target is not None:
        exchange.receive(phase, target)
    return phase.reply({**to_record(exchange.finish(phase), phase.round, {})})


def distil(phase: Phase) -> Message:
    """Learn from the teacher, or from the best of several; evaluate if asked."""
    target, teachers = phase.target(), int(phase.options.get("offered", 1))
    metrics: dict[str, float] = {}
    own: dict[str, float] = {}
    if target is not None and teachers > 1:
        own = choose(phase, target, teachers)
    elif target is not None:
        metrics = phase.tools.parts.exchange.learn(phase, target)
    return phase.reply({"metrics": metrics, MEASURED: own | phase.evaluate()})


def train(phase: Phase) -> Message:
    """Answer one of Flower's own strategies: load its arrays, fit, return the arrays."""
    load_record(phase.memory.model, phase.message.content.array_records["arrays"])
    fitted: dict[str, float] = phase.tools.parts.exchange.fit(phase)
    metrics = fitted | {"num-examples": len(phase.client.y)}
    return phase.reply({"arrays": state_record(phase.memory.model), "metrics": metrics})


def evaluate(phase: Phase) -> Message:
    """Measure the client's model; if the message brings one, what the exchange makes of that."""
    exchange, target = phase.tools.parts.exchange, phase.target()
    if (arrays := phase.message.content.array_records.get("arrays")) is not None:
        exchange.stand(phase, arrays)
        data = b"".join(array.data for array in arrays.values())
        phase.broadcast = hashlib.sha256(data).hexdigest()
    elif target is not None:
        exchange.receive(phase, target)
        phase.broadcast = model_name(phase)
    return phase.reply({MEASURED: phase.evaluate()})


def model_name(phase: Phase) -> str:
    """Return what is the same for clients with equal models.

    It is not made of the message: an exchange may keep some of a client's own beside that.
    """
    models, vector = phase.tools.parts.models, flatten(phase.memory.model)
    architecture = models.index(models[phase.index])  # others may have tensors of the same shapes
    return f"{hashlib.sha256(vector.numpy().data).hexdigest()} {architecture}"


def snapshot(phase: Phase) -> Message:
    """Return all that the client remembers: model, tensors, and what mods keep in its context.

    Raises
    ------
    RuntimeError
        If a mechanism with a guarantee is on, and this is no simulation.
    """
    if not phase.tools.measures:
        raise RuntimeError("what a client remembers is private")
    records: dict[str, Any] = {
        "arrays": state_record(phase.memory.model),
        "tensors": to_arrays(phase.memory.tensors),
    }
    passing = (*OWN_KEYS, RECORD)  # a round's secrets are not for keeping
    kept = {k: v for k, v in phase.context.state.items() if k not in passing}
    return phase.reply(records | {f"{CONTEXT}{name}": record for name, record in kept.items()})


def restore(phase: Phase) -> Message:
    """Make the client remember what a snapshot says."""
    content = phase.message.content
    load_record(phase.memory.model, content.array_records["arrays"])
    phase.memory.tensors.clear()
    phase.memory.tensors.update(tensors_of(content.array_records["tensors"]))
    for name, record in content.items():
        if name.startswith(CONTEXT):
            phase.context.state[name.removeprefix(CONTEXT)] = record
    return phase.reply({})


def forget(own: Tools, message: Message, context: Context) -> Message:
    """Drop all that the client remembers."""
    own.state.forget(context)
    return Message(RecordDict(), reply_to=message)
