"""What clients are taught, and how they learn it: what does not go together is refused."""

from torch import nn

from ..clients import Parts
from ..config import DistilConfig, RunConfig
from ..errors import ConfigError
from ..knowledge import CLASS_SCORES, NUMBERS, Kind, kind_named
from ..models import model_names
from ..models.features import HEAD, headless, lacking
from ..plugins import parameters
from ..plugins.table import SEAMS
from ..rounds.protocol import Strategy
from ..tasks.samples import Shape, made_up
from .declared import misanswered, no_layers


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


def check_guards(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse guards where clients are not taught what samples may be (nothing is fine)."""
    if not parts.guard.guards or strategy.exchange is None:
        return
    if (taught := lesson_of(strategy, parts)) not in CLASS_SCORES:
        what = taught or strategy.lesson_kind or parts.exchange.kind
        method, able = config.strategy["name"], " or ".join(CLASS_SCORES)
        problem = f"is for {able}, and {method} teaches {what}; leave it out"
        raise ConfigError("guard", config.guard["name"], problem)


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
    named = by_name(parts, instances)
    check_layers(config, parts, named, shape)
    refuse_idle(config, strategy, parts, parts.objective.unused_by(named))


def check_layers(
    config: RunConfig, parts: Parts, models: dict[str, nn.Module], shape: Shape
) -> None:
    """Refuse models that do not have the layers that the objective looks at."""
    for kind, model in models.items():
        looks = parts.objective.looks_at
        if (why := misanswered(f"looks_at({kind})", looks, model, no_layers)) is not None:
            raise ConfigError("objective", config.objective["name"], why)
        seen = looks(model)
        if (layer := lacking(model, seen)) is not None:
            problem = f"objective {config.objective['name']} looks at its layer {layer!r}, and "
            raise ConfigError("model", kind, f"{problem}it has no such")
        if HEAD in seen and (found := headless({kind: model}, made_up(shape, 2))) is not None:
            problem = f"objective {config.objective['name']} looks at features, and {found}"
            raise ConfigError("model", kind, problem)


def refuse_idle(config: RunConfig, strategy: Strategy, parts: Parts, idle: dict[str, str]) -> None:
    """Refuse a parameter of the objective that would change nothing, if it is not as it comes."""
    node, usual = config.objective, strategy.objective_node()
    known = parameters(type(parts.objective)) | (usual if usual["name"] == node["name"] else {})
    for name, why in idle.items():
        if name in known and node.get(name, known[name]) != known[name]:
            raise ConfigError(f"objective.{name}", node[name], why)


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


def check_fewest(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse batches of fewer samples than the objective learns anything from."""
    fewest, name = parts.objective.fewest, config.objective["name"]
    if lesson_of(strategy, parts) is None:
        return
    counts = {
        "distil.batch_size": config.distil.batch_size,
        "transfer.size": config.transfer.size,
        "transfer.per_round": config.transfer.per_round,
    }
    for key, given in counts.items():
        if isinstance(given, int) and given < fewest:
            problem = f"objective {name} compares the samples of a batch; give it at least {fewest}"
            raise ConfigError(key, given, problem)


def check_temperature(config: RunConfig, parts: Parts) -> None:
    """Refuse a softmax temperature where all that models say is numbers, which have none.

    What an objective of the user's makes of it, it alone knows.
    """
    shipped = SEAMS["objectives"].ships(str(config.objective["name"]))
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


def lesson_of(strategy: Strategy, parts: Parts) -> Kind | None:
    """Return the kind of knowledge that the objective learns from; None if it has nothing to do."""
    exchanged = parts.exchange.kind
    taught = kind_named(strategy.lesson_kind or exchanged, exchanged)
    return taught if strategy.exchange is not None and taught.on_samples else None


def by_name(parts: Parts, instances: list[nn.Module]) -> dict[str, nn.Module]:
    """Return one instance of each architecture, by name."""
    return dict(zip(model_names(parts.models), instances, strict=True))
