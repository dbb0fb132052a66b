"""Temperatures and weights of distillation that would change nothing are refused."""

from ..clients import Parts
from ..clients.optimisers import distilling
from ..config import RunConfig
from ..errors import ConfigError, shortened
from ..knowledge import Kind
from ..rounds.protocol import Strategy

NOBODY = "clients learn from no teacher on transfer samples"


def switched_off(config: RunConfig) -> str | None:
    """Return the setting with which no client learns from any teacher, if one is so."""
    epochs, weight = config.distil.epochs, config.distil.weight
    if epochs == 0:
        return "distil.epochs=0"
    ends = (weight["start"], weight["end"]) if isinstance(weight, dict) else (weight,)
    return f"distil.weight={shortened(weight)}" if not any(ends) else None


def check_schedule(
    config: RunConfig, strategy: Strategy, parts: Parts, taught: Kind | None
) -> None:
    """Refuse a temperature over rounds that nothing heeds, or that must be that of other rounds.

    `taught` is what the objective learns from; None = there is nothing.
    """
    given, name = config.distil.temperature, config.strategy["name"]
    if not isinstance(given, dict):
        return
    if strategy.keeps_labels and _softens(strategy, parts):
        problem = f"{name} keeps soft labels for later rounds, which then have another temperature"
        raise ConfigError("distil.temperature", given, f"{problem}; give one number")
    if why := unheeded(config, strategy, parts, taught):
        raise ConfigError("distil.temperature", given, f"has no effect: {why}; leave it out")
    for number in (1, config.rounds) if parts.retempered is not None else ():
        try:
            parts.objective_at(number)
        except ConfigError as error:
            problem = f"a round's temperature {error.problem}"
            raise ConfigError("distil.temperature", given, problem) from error


def unheeded(
    config: RunConfig, strategy: Strategy, parts: Parts, taught: Kind | None
) -> str | None:
    """Say why nothing heeds ``distil.temperature``; None if uploads or the objective do."""
    given, objective = config.distil.temperature, config.objective
    if _softens(strategy, parts):
        return None
    if (off := switched_off(config)) or taught is None:
        return f"with {off or config.strategy['name']} {NOBODY}"
    fixed = objective.get("temperature") != given
    if parts.retempered is None if isinstance(given, dict) else fixed:
        return f"objective {objective['name']} has a temperature of its own, or none"
    if parts.objective_at(1).tempers(taught):
        return None
    return f"objective {objective['name']} takes no notice of it with a teacher of {taught}"


def _softens(strategy: Strategy, parts: Parts) -> bool:
    """Say whether what clients upload is softened by ``distil.temperature``."""
    soft = {strategy.softness(parts.exchange.kind, one) for one in (1.0, 2.0)}
    return strategy.exchange is not None and len(soft) > 1


def check_weight(config: RunConfig, parts: Parts, taught: Kind | None) -> None:
    """Refuse a weight of the distillation loss that changes nothing."""
    given = config.distil.weight
    if given == 1:
        return
    off = "distil.epochs=0" if config.distil.epochs == 0 else None
    if off or taught is None:
        why = f"has no effect: with {off or config.strategy['name']} {NOBODY}; leave it out"
        raise ConfigError("distil.weight", given, why)
    ends = (given["start"], given["end"]) if isinstance(given, dict) else (given,)
    settings = distilling(vars(config.fit), vars(config.distil), parts.objective.trained_with)
    if settings["optimizer"] == "adam" and config.fit.weight_decay == 0 and min(ends) > 0:
        problem = "has no effect: adam's steps are the same whatever the loss is multiplied by"
        remedy = "use distil.optimizer=sgd, or distil.lr instead"
        raise ConfigError("distil.weight", given, f"{problem}; {remedy}")
