"""What does not go together is refused before anything starts."""

from dataclasses import replace

from torch import nn

from ..clients import Parts
from ..clients.privacy.base import PUBLIC
from ..config import RunConfig
from ..data.federation import Federation
from ..errors import ConfigError
from ..knowledge import kind_named
from ..models.flat import layout
from ..plugins import parameters
from ..rounds.protocol import Strategy
from ..tasks import Task
from ..tasks.samples import Shape, vocabulary
from .aligning import check_align
from .declared import check_declared
from .over_rounds import check_schedule, check_weight
from .securing import check_sums
from .teaching import (
    by_name,
    check_fewest,
    check_guards,
    check_kinds,
    check_labels,
    check_temperature,
    lesson_of,
    refuse_idle,
)


def check_parts(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse parts that do not go together, whatever the data are."""
    check_declared(config, parts)
    check_kinds(config, strategy, parts)
    check_epochs(config, strategy)
    check_guards(config, strategy, parts)
    check_labels(config, strategy, parts)
    check_fewest(config, strategy, parts)
    check_temperature(config, parts)
    check_schedule(config, strategy, parts, lesson_of(strategy, parts))
    check_weight(config, parts, lesson_of(strategy, parts))
    check_parameters(config, strategy, parts)
    check_classes(config, parts)
    check_attack(config, parts, strategy)
    check_codec(config, parts, strategy)
    check_align(config, strategy, parts)
    if config.secure.aggregation:
        check_sums(config, strategy, parts)


def check_epochs(config: RunConfig, strategy: Strategy) -> None:
    """Refuse a fit that is too short for what the method does in it."""
    if config.fit.epochs < strategy.least_epochs:
        problem = f"must be at least {strategy.least_epochs} for {config.strategy['name']}"
        raise ConfigError("fit.epochs", config.fit.epochs, problem)


def suited(config: RunConfig, strategy: Strategy, task: Task) -> Strategy:
    """Return the strategy as it is for the task; refuse one that makes no sense for it."""
    try:
        found = strategy.suited(task)
    except ConfigError as error:
        if error.key != "strategy":
            raise
        raise ConfigError(
            "strategy", config.strategy["name"], error.problem, error.allowed
        ) from error
    if found is not strategy and config.strategy.get("exchange") is not None:
        problem = f"{config.task['name']} has {found.exchange}; leave it out"
        raise ConfigError("strategy.exchange", config.strategy["exchange"], problem)
    return found


def check_classes(config: RunConfig, parts: Parts) -> None:
    """Refuse what works on labels that are classes, where the task has none."""
    if parts.task.needs_classes:
        return
    if parts.exchange.kind == "class_knowledge":
        problem = f"exchanges knowledge of classes, and the task is {config.task['name']}"
        raise ConfigError("strategy", config.strategy["name"], problem)
    for key, part in (("attack", parts.attack), ("client", parts.loop)):
        if part.needs_classes:
            problem = f"needs classes, and the task is {config.task['name']}"
            raise ConfigError(key, getattr(config, key)["name"], problem)


def check_attack(config: RunConfig, parts: Parts, strategy: Strategy) -> None:
    """Refuse an attack that cannot poison what the strategy exchanges (nothing is fine)."""
    kinds, exchanged = parts.attack.kinds, parts.exchange.kind
    if kinds is not None and strategy.exchange is not None and exchanged not in kinds:
        problem = f"poisons {' or '.join(kinds)}, and {config.strategy['name']} has {exchanged}"
        raise ConfigError("attack", config.attack["name"], problem)


def check_codec(config: RunConfig, parts: Parts, strategy: Strategy) -> None:
    """Refuse a codec that makes no sense for what the strategy exchanges (nothing is fine)."""
    kinds, exchanged = parts.codec.kinds, parts.exchange.kind
    if kinds is not None and strategy.exchange is not None and exchanged not in kinds:
        problem = f"is for {' or '.join(kinds)}, and {config.strategy['name']} has {exchanged}"
        raise ConfigError("compress", config.compress["name"], problem)
    if parts.codec.by_row and not kind_named(exchanged).plain and strategy.exchange is not None:
        problem = (
            f"has one scale for a row, and numbers of {exchanged} are of several sorts; use float16"
        )
        raise ConfigError("compress", config.compress["name"], problem)


def check_inputs(config: RunConfig, parts: Parts, shape: Shape) -> None:
    """Refuse what computes with samples themselves where they are not made for that."""
    if config.fit.augment and (len(shape) != 3 or vocabulary(shape) is not None):
        problem = f"flips and crops pictures, and a sample is {shape}; set it to false"
        raise ConfigError("fit.augment", True, problem)
    why = parts.exchange.reckons()
    if why is not None and vocabulary(shape) is not None:
        name = config.strategy["name"]
        raise ConfigError("strategy", name, f"{why}, and token ids of texts are no quantities")


def check_parameters(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse a parameter of the strategy, or of the objective, that would change nothing."""
    idle = strategy.unused(parts.exchange.kind)
    for name, default in parameters(type(strategy)).items():
        value = config.strategy.get(name, vars(strategy).get(name, default))
        if name in idle and value != default:
            raise ConfigError(f"strategy.{name}", value, idle[name])
    if (taught := lesson_of(strategy, parts)) is not None:
        refuse_idle(config, strategy, parts, parts.objective.unused(taught))


def check_models(
    config: RunConfig, strategy: Strategy, parts: Parts, instances: list[nn.Module]
) -> None:
    """Refuse architectures that the method cannot work with."""
    named = by_name(parts, instances)
    problem = parts.exchange.refusal(named)
    if strategy.homogeneous and len({layout(model) for model in instances}) > 1:
        problem = "shares one model, so all clients need the same one"
    if problem is not None:
        whole = f"{config.strategy['name']} {problem}"
        raise ConfigError("model", f"[{','.join(named)}]", whole)


def check_privacy(
    config: RunConfig,
    strategy: Strategy,
    parts: Parts,
    instances: list[nn.Module],
) -> None:
    """Refuse mechanisms that cannot protect what the strategy exchanges, or these models."""
    for name, number in strategy.reads().items():
        if parts.privacy.protects and number not in PUBLIC:
            kinds = " and ".join(parts.privacy.mechanisms)
            problem = f"is a client's own number, which {kinds} does not protect"
            raise ConfigError(f"strategy.{name}", number, f"{problem}; public is {PUBLIC[0]} only")
    if strategy.finishes and parts.privacy.protects:
        problem = (
            f"protects uploads in rounds, and {config.strategy['name']} has one more at the end"
        )
        raise ConfigError("privacy", config.privacy["name"], problem)
    exchange = None if strategy.exchange is None else parts.exchange
    found = parts.privacy.refusal(exchange, by_name(parts, instances))
    if found is not None:
        problem = f"{found[1]} (strategy {config.strategy['name']})"
        raise ConfigError("privacy", found[0], problem)


def check_choice(
    config: RunConfig, strategy: Strategy, parts: Parts, federation: Federation
) -> None:
    """Refuse to have clients choose teachers that hold no samples out, or may not look at them."""
    if strategy.offered == 1:
        return
    who = config.strategy["name"]
    if not config.data.validation:
        problem = f"{who} has clients choose on samples that are held out; set it to 0.1, say"
        raise ConfigError("data.validation", config.data.validation, problem)
    for client in range(len(federation.sizes)):
        if not len(federation.validation(client)[1]):
            problem = (
                f"holds out none of client {client}'s {federation.sizes[client]} samples, on which "
                f"{who} has it choose; raise it, or give clients more samples"
            )
            raise ConfigError("data.validation", config.data.validation, problem)
    for name, mechanism in parts.privacy.mechanisms.items():
        if mechanism.protects and mechanism.kinds is None:  # by how clients are trained
            problem = (
                f"does not protect the samples on which {who} has clients choose; use gaussian or "
                "laplace, which protect what is sent"
            )
            raise ConfigError("privacy", name, problem)


def without_replay(config: RunConfig, parts: Parts, resumes: bool) -> RunConfig:
    """Return the configuration, in which nothing is done twice that would not come out the same.

    What is drawn from the operating system is not drawn again. A run that goes on after a stop
    repeats the rounds since its last checkpoint, and an actor in a dead one's place those since its
    last snapshot: other noise on the same release, other masks on the same upload.

    Raises
    ------
    ConfigError
        If the run is to be resumed.
    """
    secret = config.secure.aggregation and config.secure.rng == "os"
    if not (parts.privacy.secure or secret):
        return config
    if resumes and parts.privacy.secure:
        problem = "a resumed run would release its last rounds again, with other noise"
        raise ConfigError("privacy.secure_rng", True, f"{problem}; start a new run")
    if resumes:
        problem = (
            "a resumed run would sum its last rounds again, with other masks: who is missing from "
            "one of two sums is known by their difference"
        )
        raise ConfigError("secure.rng", "os", f"{problem}; start a new run")
    return replace(config, engine=replace(config.engine, max_restarts=0))
