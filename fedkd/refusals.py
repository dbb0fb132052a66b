"""What does not go together is refused before anything starts."""

from torch import nn

from .clients import Parts
from .config import RunConfig
from .errors import ConfigError
from .flat import layout
from .models import model_name
from .plugins import parameters
from .protocol import Strategy


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
    resumes: bool,
) -> None:
    """Refuse mechanisms that cannot protect what the strategy exchanges, or these models.

    Noise that does not repeat cannot protect a run that goes on after a stop, either: rounds since
    the last checkpoint would be released a second time, with other noise.
    """
    if parts.privacy.secure and resumes:
        problem = "a resumed run would release its last rounds again, with other noise"
        raise ConfigError("privacy.secure_rng", True, problem)
    exchange = None if strategy.exchange is None else parts.exchange
    found = parts.privacy.refusal(exchange, _named(parts, instances))
    if found is not None:
        problem = f"{found[1]} (strategy {config.strategy['name']})"
        raise ConfigError("privacy", found[0], problem)


def _named(parts: Parts, instances: list[nn.Module]) -> dict[str, nn.Module]:
    """Return one instance of each architecture, by name."""
    return {model_name(kind): model for kind, model in zip(parts.models, instances, strict=True)}
