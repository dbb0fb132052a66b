"""What the user should know of settings before a run starts.

Those that change nothing with a method are refused, or said by name where a preset may have them
for other methods that it is swept over.
"""

from ..clients import Parts
from ..clients.active import ActiveLearner
from ..config import DistilConfig, RunConfig
from ..errors import ConfigError, shortened
from ..knowledge import kind_named
from ..rounds.protocol import Strategy
from .over_rounds import NOBODY, switched_off, unheeded
from .teaching import lesson_of

SHARED = ("attack", "compress", "guard")
"""Keys of what is done to knowledge that is exchanged, or learnt from."""


def check_mixing(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Refuse to mix transfer samples that nobody looks at."""
    if config.transfer.mixup and not _uses_transfer(strategy, parts):
        problem = f"mixes transfer samples, and {config.strategy['name']} uses none; set it to 0"
        raise ConfigError("transfer.mixup", config.transfer.mixup, problem)


def idle(config: RunConfig, strategy: Strategy, parts: Parts) -> list[str]:
    """Say which settings change nothing, and why; a note for each reason."""
    who, objective = config.strategy["name"], config.objective["name"]
    taught, per_round = lesson_of(strategy, parts), config.transfer.per_round
    what = strategy.lesson_kind or parts.exchange.kind
    found = []
    off = switched_off(config)
    if taught is None or off:
        why = f"{who} teaches its clients {'nothing' if strategy.exchange is None else what}"
        settings = _objective(config, strategy) + _distil(config, off if taught else None)
        if taught is not None:
            why, guard = f"with {off} {NOBODY}", config.guard["name"]
            settings += [f"guard={guard}"] * (guard != "none")
        found.append((settings + _temperature(config, strategy, parts), why))
    else:
        why = unheeded(config, strategy, parts, taught) or ""
        found.append((_temperature(config, strategy, parts), why))
        deaf = not parts.objective_at(1).tempers(taught)
        why = f"objective {objective} takes no notice of it with a teacher of {taught}"
        found.append((_own_temperature(config, strategy) * deaf, why))
    for key in ("guard", "privacy"):
        node, usual = getattr(config, key), getattr(RunConfig(), key)
        if node["name"] == "none":
            own = [f"{key}.{k}={shortened(v)}" for k, v in node.items() if v != usual.get(k)]
            found.append((own, f"there is no {key}"))
    if per_round is not None and not _uses_transfer(strategy, parts):
        found.append(([f"transfer.per_round={per_round}"], f"{who} uses no transfer samples"))
    if not isinstance(parts.exchange, ActiveLearner):
        found.append((_labelling(config), f"{who} asks for no labels"))
    if strategy.exchange is None:
        chosen = {key: getattr(config, key)["name"] for key in SHARED}
        settings = [f"{key}={name}" for key, name in chosen.items() if name != "none"]
        found.append((settings, f"{who} exchanges nothing"))
    return [
        f"{_listed(settings)} change{'s' * (len(settings) == 1)} nothing: {why}"
        for settings, why in found
        if settings
    ]


def levelled(config: RunConfig, strategy: Strategy, parts: Parts, width: int) -> list[str]:
    """Say that clients learn numbers to be equal that only the codec made so.

    `width` is how many numbers a row of knowledge has.
    """
    codec, learnt = parts.codec, parts.objective.tells_apart or width
    kept = codec.kept(width)
    if lesson_of(strategy, parts) is None or not (codec.up or codec.down) or kept >= learnt:
        return []
    name, objective = config.compress["name"], config.objective["name"]
    remedy = f"compress={name} with more" if learnt < width else "objective=topkld does not"
    return [
        f"compress={name} keeps {kept} of {width} numbers a row and makes the others one: with "
        f"objective={objective} clients learn that they are equal; {remedy}, or compress=float16"
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


def _temperature(config: RunConfig, strategy: Strategy, parts: Parts) -> list[str]:
    """Return what the user has said of the temperature, if nothing heeds it."""
    given, taught = config.distil.temperature, lesson_of(strategy, parts)
    idle = given != DistilConfig().temperature and unheeded(config, strategy, parts, taught)
    return [f"distil.temperature={given}"] if idle else []


def _distil(config: RunConfig, off: str | None) -> list[str]:
    """Return what the user has said of training on a teacher, but for what switches it off."""
    now, usual = config.distil, DistilConfig()
    keys = ("epochs", "batch_size", "lr", "optimizer")
    given = [k for k in keys if getattr(now, k) != getattr(usual, k)]
    return [one for one in (f"distil.{k}={getattr(now, k)}" for k in given) if one != off]


def _labelling(config: RunConfig) -> list[str]:
    """Return what the user has said of who is asked for labels, and of what."""
    usual = RunConfig()
    keys = [key for key in ("sampler", "oracle") if getattr(config, key) != getattr(usual, key)]
    return [f"{key}={getattr(config, key)['name']}" for key in keys]


def _uses_transfer(strategy: Strategy, parts: Parts) -> bool:
    """Say whether anybody looks at transfer samples."""
    if strategy.uses_transfer or lesson_of(strategy, parts) is not None:
        return True
    return strategy.exchange is not None and kind_named(parts.exchange.kind).on_samples


def _listed(words: list[str]) -> str:
    """Return words as a sentence has them."""
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + words[-1:])
