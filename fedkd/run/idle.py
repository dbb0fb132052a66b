"""Settings that change nothing with a method: some are refused, the others said by name.

Those that a preset may have for the methods it is swept over are no mistake with the others.
"""

from ..clients import Parts
from ..config import DistilConfig, RunConfig
from ..errors import ConfigError
from ..knowledge import kind_named
from ..rounds.protocol import Strategy
from .over_rounds import unheeded
from .refusals import lesson_of

SHARED = ("attack", "compress", "guard")
"""Keys of what is done to knowledge that is exchanged, or learnt from."""


def check_mixing(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse to mix transfer samples that nobody looks at."""
    if config.transfer.mixup and not _uses_transfer(strategy, parts):
        problem = f"mixes transfer samples, and {config.strategy['name']} uses none; set it to 0"
        raise ConfigError("transfer.mixup", config.transfer.mixup, problem)


def idle(config: RunConfig, strategy: Strategy, parts: Parts) -> list[str]:
    """Say which settings change nothing, and why; a note for each reason."""
    who, taught = config.strategy["name"], lesson_of(strategy, parts)
    what = strategy.lesson_kind or parts.exchange.kind
    why = f"{who} teaches its clients {'nothing' if strategy.exchange is None else what}"
    found: dict[str, list[str]] = {}
    if taught is None:
        found[why] = _objective(config, strategy) + _distil(config)
    warm, deaf = config.distil.temperature, unheeded(config, strategy, parts, taught)
    if deaf and warm != DistilConfig().temperature:
        found.setdefault(why if taught is None else deaf, []).append(f"distil.temperature={warm}")
    if taught is not None and not parts.objective_at(1).tempers(taught):
        deaf = (
            f"objective {config.objective['name']} takes no notice of it with a teacher of {taught}"
        )
        found.setdefault(deaf, []).extend(_own_temperature(config, strategy))
    if config.transfer.per_round is not None and not _uses_transfer(strategy, parts):
        found[f"{who} uses no transfer samples"] = [
            f"transfer.per_round={config.transfer.per_round}"
        ]
    if strategy.exchange is None:
        chosen = {key: getattr(config, key)["name"] for key in SHARED}
        found[f"{who} exchanges nothing"] = [f"{k}={v}" for k, v in chosen.items() if v != "none"]
    return [
        f"{_listed(keys)} change{'s' * (len(keys) == 1)} nothing: {why}"
        for why, keys in found.items()
        if keys
    ]


def _objective(config: RunConfig, strategy: Strategy) -> list[str]:
    """Return what the user has said of the objective."""
    own, given = strategy.objective_node(), config.objective
    asked = any(key != "temperature" and given[key] != own.get(key) for key in given)
    return [f"objective={given['name']}"] * asked + _own_temperature(config, strategy)


def _own_temperature(config: RunConfig, strategy: Strategy) -> list[str]:
    """Return what the user has said of its temperature."""
    given = config.objective.get("temperature")
    usual = (None, config.distil.temperature, strategy.objective_node().get("temperature"))
    return [] if given in usual else [f"objective.temperature={given}"]


def _distil(config: RunConfig) -> list[str]:
    """Return what the user has said of training on a teacher."""
    now, usual = config.distil, DistilConfig()
    keys = ("epochs", "batch_size", "lr")
    return [f"distil.{k}={getattr(now, k)}" for k in keys if getattr(now, k) != getattr(usual, k)]


def _uses_transfer(strategy: Strategy, parts: Parts) -> bool:
    """Say whether anybody looks at transfer samples."""
    if strategy.uses_transfer or lesson_of(strategy, parts) is not None:
        return True
    return strategy.exchange is not None and kind_named(parts.exchange.kind).on_samples


def _listed(words: list[str]) -> str:
    """Return words as a sentence has them."""
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + words[-1:])
