"""What does not go together is refused before anything starts."""

from dataclasses import replace

from torch import nn

from ..clients import Parts
from ..clients.privacy.base import PUBLIC
from ..config import DistilConfig, RunConfig
from ..errors import ConfigError
from ..knowledge import CLASS_SCORES, NUMBERS, Kind, kind_named
from ..models import model_names
from ..models.features import HEAD, headless, lacking
from ..models.flat import layout
from ..plugins import parameters
from ..plugins.table import SEAMS
from ..rounds.protocol import Strategy
from ..tasks import Task
from ..tasks.samples import Shape, made_up, vocabulary
from .aligning import check_align
from .over_rounds import check_schedule, check_weight
from .securing import check_sums


def check_parts(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse parts that do not go together, whatever the data are."""
    check_kinds(config, strategy, parts)
    check_epochs(config, strategy)
    check_guards(config, strategy, parts)
    check_labels(config, strategy, parts)
    check_temperature(config, parts)
    check_schedule(config, strategy, parts, lesson_of(strategy, parts))
    check_weight(config, lesson_of(strategy, parts))
    check_parameters(config, strategy, parts)
    check_classes(config, parts)
    check_attack(config, parts, strategy)
    check_codec(config, parts, strategy)
    check_align(config, strategy, parts)
    if config.secure.aggregation:
        check_sums(config, strategy, parts)


def check_kinds(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse knowledge of a kind that nobody knows, or that the objective cannot learn from."""
    name = config.strategy["name"]
    try:
        taught = lesson_of(strategy, parts)
    except ValueError as error:
        raise ConfigError("strategy", name, f"exchanges what is no kind: {error}") from None
    kinds = parts.objective.kinds
    if taught is not None and taught not in (kinds or [taught]):
        known = SEAMS["objectives"].shipped().items()
        able = [key for key, cls in known if cls.kinds is None or taught in cls.kinds]
        problem = f"learns from {' or '.join(kinds or ())}, and {name} teaches {taught}"
        raise ConfigError("objective", config.objective["name"], problem, able)


def check_epochs(config: RunConfig, strategy: Strategy) -> None:
    """Refuse a fit that is too short for what the method does in it."""
    if config.fit.epochs < strategy.least_epochs:
        problem = f"must be at least {strategy.least_epochs} for {config.strategy['name']}"
        raise ConfigError("fit.epochs", config.fit.epochs, problem)


def check_guards(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse guards where clients are not taught what samples may be (nothing is fine)."""
    if not parts.guard.guards or strategy.exchange is None:
        return
    if (taught := lesson_of(strategy, parts)) not in CLASS_SCORES:
        what = taught or strategy.lesson_kind or parts.exchange.kind
        method, able = config.strategy["name"], " or ".join(CLASS_SCORES)
        problem = f"is for {able}, and {method} teaches {what}; leave it out"
        raise ConfigError("guard", config.guard["name"], problem)


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


def check_objective(
    config: RunConfig,
    strategy: Strategy,
    parts: Parts,
    instances: list[nn.Module],
    shape: Shape,
    each: int,
) -> None:
    """Refuse models that do not have the layers that the objective looks at, and too many rows.

    `shape` is that of a sample, `each` how many rows of knowledge a transfer sample has.
    """
    if lesson_of(strategy, parts) is None:
        return
    if each > 1 and parts.objective.one_row:
        problem = f"is for samples of one row, and these have {each}; leave its net or stages out"
        raise ConfigError("objective", config.objective["name"], problem)
    size, most = config.distil.batch_size, parts.objective.most_rows
    if most is not None and each > 1 and size * each > most:
        problem = (
            f"compares all rows of a batch, {size * each} with {each} a sample; at most {most}"
        )
        remedy = "lower distil.batch_size or data.length"
        raise ConfigError("objective", config.objective["name"], f"{problem}: {remedy}")
    for kind, model in _named(parts, instances).items():
        seen = parts.objective.looks_at(model)
        if (layer := lacking(model, seen)) is not None:
            problem = f"objective {config.objective['name']} looks at its layer {layer!r}, and "
            raise ConfigError("model", kind, f"{problem}it has no such")
        if HEAD in seen and (found := headless({kind: model}, made_up(shape, 2))) is not None:
            problem = f"objective {config.objective['name']} looks at features, and {found}"
            raise ConfigError("model", kind, problem)


def check_labels(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse what learns from the transfer set's labels where it may not see them."""
    wanting = [config.strategy["name"]] if strategy.needs_labels else []
    if parts.objective.needs_labels and lesson_of(strategy, parts) is not None:
        wanting.append(f"objective {config.objective['name']}")
    if strategy.exchange is not None:
        wanting += [f"guard {name}" for name in parts.guard.needing_labels]
    if wanting and not config.transfer.labelled:
        problem = f"{wanting[0]} needs the transfer set's labels; set it to true"
        raise ConfigError("transfer.labelled", False, problem)


def check_temperature(config: RunConfig, parts: Parts) -> None:
    """Refuse a softmax temperature where all that models say is numbers, which have none.

    What an objective of the user's makes of it, it alone knows.
    """
    shipped = config.objective["name"] in SEAMS["objectives"].shipped()
    if not shipped or not all(kind in NUMBERS for kind in parts.task.kinds):
        return
    usual = DistilConfig().temperature
    given = {
        "distil.temperature": config.distil.temperature,
        "objective.temperature": config.objective.get("temperature", usual),
    }
    for key, value in given.items():
        if value != usual:
            problem = f"softens class scores, and {config.task['name']} has none; leave it out"
            raise ConfigError(key, value, problem)


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
    """Refuse a parameter of the strategy that would change nothing."""
    idle = strategy.unused(parts.exchange.kind)
    for name, default in parameters(type(strategy)).items():
        value = config.strategy.get(name, vars(strategy).get(name, default))
        if name in idle and value != default:
            raise ConfigError(f"strategy.{name}", value, idle[name])


def check_models(
    config: RunConfig, strategy: Strategy, parts: Parts, instances: list[nn.Module]
) -> None:
    """Refuse architectures that the method cannot work with."""
    named = _named(parts, instances)
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
    found = parts.privacy.refusal(exchange, _named(parts, instances))
    if found is not None:
        problem = f"{found[1]} (strategy {config.strategy['name']})"
        raise ConfigError("privacy", found[0], problem)


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


def lesson_of(strategy: Strategy, parts: Parts) -> Kind | None:
    """Return the kind of knowledge that the objective learns from; None if it has nothing to do."""
    exchanged = parts.exchange.kind
    taught = kind_named(strategy.lesson_kind or exchanged, exchanged)
    return taught if strategy.exchange is not None and taught.on_samples else None


def _named(parts: Parts, instances: list[nn.Module]) -> dict[str, nn.Module]:
    """Return one instance of each architecture, by name."""
    return dict(zip(model_names(parts.models), instances, strict=True))
