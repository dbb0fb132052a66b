"""The ClientApp: real Flower messages in, real Flower messages out.

=====================  ============================================================================
``query.hello``        answers with the partition id
``train.fit``          fit, then reply with what the exchange uploads (``train.kcfu``: the same)
``train.distil``       learn from a teacher
``train`` (default)    for Flower's own strategies: load the arrays, fit, reply with the arrays
``query.evaluate``     accuracy of the client's model, or of the arrays in the message
``query.score``        picks samples to be labelled (active learning)
``query.annotate``     has them labelled
``query.tally``        how many labels of each class it has
``query.advertise``    secure aggregation (and ``share``, ``unmask``): see `secure`
``query.snapshot``     all that the client remembers
``query.restore``      makes it remember a snapshot
``query.forget``       drops it: the client is hosted by another process from now on
=====================  ============================================================================

In a simulation the app closes over one JSON spec. Deployed, it reads the same JSON from Flower's
run config: `deployed` is ready to be named in a Flower project, with
``fedkd-spec = '''...'''`` (the content of ``RUN_DIR/spec.json``).
"""

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable, Mod

from ..engine.base import MEASURED, round_of
from ..engine.state import (
    OWN_KEYS,
    ClientState,
    ContextState,
    load_record,
    state_record,
    tensors_of,
)
from ..errors import RunError
from ..exits import is_interrupt
from ..knowledge import to_record
from ..knowledge.arrays import to_arrays
from ..rng import scoped
from .compression import compressing
from .faults import crashing, surviving
from .parts import Parts
from .phase import Phase, Tools
from .queries import annotate, score, tally
from .secrets import RECORD
from .secure import register
from .workbench import workbench

CONTEXT = "context."
"""Prefix of the records that a snapshot takes from ``Context.state``."""

SPEC_KEY = "fedkd-spec"
"""Where a deployed app finds the spec in Flower's run config."""


def hello(own: Tools, message: Message, context: Context) -> Message:
    """Answer with the partition id, once the data are there.

    Raises
    ------
    RuntimeError
        If they are not.
    """
    try:
        _ = workbench(own.spec).federation.clients
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
    knowledge = exchange.declared(phase, exchange.upload(phase))
    return phase.reply({**to_record(knowledge, phase.round, metrics), MEASURED: measured})


def distil(phase: Phase) -> Message:
    """Learn from the teacher, evaluate if asked."""
    target = phase.target()
    metrics = phase.tools.parts.exchange.learn(phase, target) if target else {}
    return phase.reply({"metrics": metrics, MEASURED: phase.evaluate()})


def train(phase: Phase) -> Message:
    """Answer one of Flower's own strategies: load its arrays, fit, return the arrays."""
    load_record(phase.memory.model, phase.message.content.array_records["arrays"])
    metrics = phase.loop.fit([phase.client])[0]
    metrics |= {"num-examples": len(phase.client.y)}
    return phase.reply({"arrays": state_record(phase.memory.model), "metrics": metrics})


def evaluate(phase: Phase) -> Message:
    """Measure the client's model; if the message brings arrays, they become its model."""
    if (arrays := phase.message.content.array_records.get("arrays")) is not None:
        load_record(phase.memory.model, arrays)
        data = b"".join(array.data for array in arrays.values())
        phase.broadcast = hashlib.sha256(data).hexdigest()
    return phase.reply({MEASURED: phase.evaluate()})


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


def client_app(
    spec: str | None = None,
    *,
    state: ClientState | None = None,
    parts: Parts | None = None,
    mods: Sequence[Mod] = (),
) -> ClientApp:
    """Return fedkd's ClientApp.

    Parameters
    ----------
    spec : str, optional
        The run's JSON spec; without it, it is read from Flower's run config.
    state : ClientState, optional
        Where clients keep their models; by default in Flower's ``Context.state``.
    parts : Parts, optional
        Ready objects in place of the names in the spec, for simulation.
    mods : sequence
        Flower mods around the two training phases.
    """
    given = None
    if spec is not None:
        made = parts or Parts.from_spec(json.loads(spec))
        given = Tools(spec, state or ContextState(), made)

    def tools(context: Context) -> Tools:
        return given or _from_run_config(context)

    def around(of: Callable[[Parts], list[Mod]]) -> list[Mod]:
        if given is not None:
            return of(given.parts)
        return [lambda *call: _through(of(_from_run_config(call[1]).parts), *call)]

    app = ClientApp(mods=[surviving])
    app.query("hello")(lambda message, context: hello(tools(context), message, context))
    app.query("forget")(lambda message, context: forget(tools(context), message, context))
    app.query("evaluate", mods=around(_compression))(_handler(evaluate, tools))
    for answer in (score, annotate, tally, snapshot, restore):
        app.query(answer.__name__)(_handler(answer, tools))
    register(app, lambda context: tools(context).parts.masking)
    wrappers = [crashing, *around(_wrappers), *mods]
    for answer in (fit, distil):
        app.train(answer.__name__, mods=wrappers)(_handler(answer, tools))
    app.train("kcfu", mods=wrappers)(_handler(fit, tools))
    app.train(mods=wrappers)(_handler(train, tools))
    return app


def _wrappers(parts: Parts) -> list[Mod]:
    """Return the mods around training, from the outside in, but for those that would do nothing.

    Whoever attacks does not keep to a protection, and what either of them makes of the knowledge is
    encoded, or masked, like any other.
    """
    found: list[tuple[Any, Mod]] = [
        (parts.secure.aggregation, parts.masking),
        (parts.attack.hostile, parts.attack),
        (parts.privacy.mechanisms, parts.privacy),
    ]
    return _compression(parts) + [mod for needed, mod in found if needed]


def _compression(parts: Parts) -> list[Mod]:
    codec = parts.codec
    return [partial(compressing, codec, parts.exchange.kind)] if codec.up or codec.down else []


def _through(
    mods: Sequence[Mod], message: Message, context: Context, then: ClientAppCallable
) -> Message:
    """Answer a message with mods around `then`, the first one outermost."""
    if not mods:
        return then(message, context)
    return mods[0](message, context, lambda m, c: _through(mods[1:], m, c, then))


def _from_run_config(context: Context) -> Tools:
    return _tools(str(context.run_config[SPEC_KEY]))


@lru_cache(maxsize=1)
def _tools(spec: str) -> Tools:
    parts = Parts.from_spec(json.loads(spec))
    return Tools(spec, ContextState(), parts, measures=not parts.privacy.protects)


def _handler(
    answer: Callable[[Phase], Message], tools: Callable[[Context], Tools]
) -> Callable[[Message, Context], Message]:
    """Lend a handler seeded global generators, and say where an exception came from."""

    def handle(message: Message, context: Context) -> Message:
        client, round_ = int(context.node_config["partition-id"]), round_of(message)
        torch.set_num_threads(1)
        own = tools(context)
        try:
            seed = workbench(own.spec).seed_of(client, round_, f"global.{answer.__name__}")
            with scoped(seed):
                return answer(Phase(own, message, context, answer.__name__))
        except RunError:
            raise
        except BaseException as error:  # sys.exit in a plug-in, too
            own.state.rollback(context)
            if is_interrupt(error):
                raise
            where = f"client {client}, round {round_}, {message.metadata.message_type}"
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise RuntimeError(f"{where}: {cause} ({_inputs(message)})") from error

    return handle


def _inputs(message: Message) -> str:
    """Describe what a message brought."""
    records = message.content.array_records.items()
    arrays = [f"{name}.{k} {v.shape}" for name, record in records for k, v in record.items()]
    return f"message with {', '.join(arrays[:3]) or 'no arrays'}"


deployed = client_app()
"""The app for a Flower deployment; its spec comes with the run config."""
