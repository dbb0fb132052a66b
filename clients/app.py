"""The ClientApp: real Flower messages in, real Flower messages out.

=====================  ============================================================================
``query.hello``        answers with the partition id
``train.fit``          fit, then reply with what the exchange uploads (``train.kcfu``: the same)
``train.distil``       learn from a teacher
``train.finish``       upload what is asked for once, after the last round
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

import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable, Mod

from ..ending import is_interrupt
from ..engine.base import round_of
from ..engine.state import ClientState, ContextState
from ..errors import RunError
from ..rng import scoped
from .handlers import distil, evaluate, finish, fit, forget, hello, restore, snapshot, train
from .mods import compressing, crashing, surviving
from .parts import Parts
from .phase import Phase, Tools
from .queries import annotate, score, tally
from .secure import register
from .workbench import workbench

SPEC_KEY = "fedkd-spec"
"""Where a deployed app finds the spec in Flower's run config."""


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
    for answer in (fit, distil, finish):
        app.train(answer.__name__, mods=wrappers)(_handler(answer, tools))
    app.train("kcfu", mods=wrappers)(_handler(fit, tools))
    # its streams are fit's: of one seed, Flower's strategies and ours see samples in one order
    app.train(mods=wrappers)(_handler(train, tools, fit.__name__))
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
    answer: Callable[[Phase], Message], tools: Callable[[Context], Tools], streams: str = ""
) -> Callable[[Message, Context], Message]:
    """Lend a handler seeded global generators, and say where an exception came from."""
    name = streams or answer.__name__

    def handle(message: Message, context: Context) -> Message:
        client, round_ = int(context.node_config["partition-id"]), round_of(message)
        torch.set_num_threads(1)
        own = tools(context)
        try:
            seed = workbench(own.spec).seed_of(client, round_, f"global.{name}")
            with scoped(seed):
                return answer(Phase(own, message, context, name))
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
