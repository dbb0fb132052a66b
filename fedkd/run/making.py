"""The pieces of a run, made of what the user gave, and held to fit together."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..clients import Parts
from ..clients.exchange import Exchange
from ..clients.guarding import Guards
from ..clients.privacy.protection import budget
from ..config import RunConfig
from ..data.federation import Federation
from ..errors import ConfigError
from ..models import check_model, deal, model_names, refuse_shared
from ..plugins import parameters
from ..plugins.loading import load_object
from ..plugins.table import SEAMS
from ..rounds.protocol import Strategy
from ..tasks import Task
from .disagreeing import check_hard
from .notes import check_mixing
from .objects import Objects
from .refusals import check_parts, suited
from .resolving import resolved, spec_of


def pieces(config: RunConfig, strategy: Strategy, objects: Objects) -> tuple[Strategy, Parts]:
    """Return the strategy as it is for the task, and the clients' parts, if they fit together."""
    task: Task = SEAMS["tasks"].create(config.task)
    strategy = suited(config, strategy, task)
    config = resolved(config, strategy)
    parts = _parts(config, strategy, objects, task)
    check_parts(config, strategy, parts)
    check_hard(config, strategy, parts)
    check_mixing(config, strategy, parts)
    return strategy, parts


def _parts(config: RunConfig, strategy: Strategy, objects: Objects, task: Task) -> Parts:
    """Make the clients' parts."""
    with _speaking_of_the_strategy(config):
        objective, spec = objects.objective, spec_of(config, strategy)
        if isinstance(objective, type):
            lacking = {"temperature"} - parameters(objective).keys()
            own = {k: v for k, v in config.objective.items() if k not in lacking}
            objective = SEAMS["objectives"].build(objective, own)
        guard = objects.guard
        if guard is not None and not isinstance(guard, Guards):
            guard = Guards.with_classes(guard, config.guard)
        return Parts.from_spec(spec, objects.model, task, guard, objective)


def settled_exchange(config: RunConfig, strategy: Strategy, exchange: Exchange) -> Exchange:
    """Return the exchange with the parameters that the strategy has settled."""
    with _speaking_of_the_strategy(config):
        node = spec_of(config, strategy)["exchange"]
        made: Exchange = SEAMS["exchanges"].create(node)
    made.input_shape = exchange.input_shape
    return made


@contextmanager
def _speaking_of_the_strategy(config: RunConfig) -> Iterator[None]:
    """Name the strategy in errors of its exchange, whose parameters are its own."""
    try:
        yield
    except ConfigError as error:
        if not error.key.startswith("exchange"):
            raise
        value = config.strategy["name"] if error.key == "exchange" else error.value
        key = error.key.replace("exchange", "strategy", 1)
        raise ConfigError(key, value, error.problem) from error


def private_strategy(config: RunConfig, strategy: Strategy, parts: Parts) -> Strategy:
    """Return the strategy, or the mechanism's that takes its place."""
    for name, mechanism in parts.privacy.mechanisms.items():
        if mechanism.fusion is not None:
            if not strategy.sums_only:
                problem = f"takes the place of a mean, and {config.strategy['name']} needs more"
                raise ConfigError("privacy", name, problem)
            strategy = load_object(mechanism.fusion)(
                mechanism, budget(config.privacy).delta, strategy
            )
    return strategy


@contextmanager
def called_as_given(models: Any, parts: Parts) -> Iterator[None]:
    """Name models in errors as the configuration does, and not their classes."""
    try:
        yield
    except ConfigError as error:
        given = model_names(deal(models, len(parts.models)))
        names = dict(zip(model_names(parts.models), given, strict=True))
        if error.key != "model" or names.get(str(error.value), error.value) == error.value:
            raise
        value = names[str(error.value)]
        raise ConfigError("model", value, error.problem, error.allowed) from error


def instances_of(parts: Parts, federation: Federation, task: str) -> list[nn.Module]:
    """Try every architecture on a dummy batch; return each client's, shared where it is one."""
    shape, outputs = federation.shape, parts.task.outputs(federation.targets)
    kinds = {id(model): model for model in parts.models}
    built = {key: check_model(model, shape, outputs, task=task) for key, model in kinds.items()}
    refuse_shared(list(zip(model_names(list(kinds.values())), built.values(), strict=True)))
    return [built[id(model)] for model in parts.models]
