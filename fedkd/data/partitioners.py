"""Which flwr-datasets partitioner ``data.partitioner`` means, and its arguments."""

import inspect
import pkgutil
from typing import Any

from ..config import RunConfig
from ..config.hints import signature
from ..errors import PROBLEM, ConfigError, one_line
from ..plugins.finding import checked_value
from ..plugins.loading import is_code, load_object
from ..rng import SERVER, stream
from .dealers import DEALERS, KEY, refuse_unknown
from .flower import partitioner as flower

Partitioner = flower.Partitioner

_KINDS = (
    flower.IidPartitioner,
    flower.DirichletPartitioner,
    flower.PathologicalPartitioner,
    flower.ShardPartitioner,
)
SHIPPED: dict[str, type[flower.Partitioner]] = dict(zip(DEALERS[1:], _KINDS, strict=True))
"""Those that have a short name."""

_TWO_CLASSES = {
    "pathological": {"num_classes_per_partition": 2},
    "shard": {"num_shards_per_partition": 2},
}


def choose(
    config: RunConfig, each: int | None, own: flower.Partitioner | None = None
) -> tuple[str, type[flower.Partitioner], dict[str, Any]]:
    """Return name, class and the user's parameters of the partitioner in ``data.partitioner``."""
    node = dict(config.data.partitioner)
    name = str(node.pop("name", "auto"))
    if own is not None:
        return type(own).__name__, type(checked(own)), {}
    if "_target_" in node:
        target = str(node.pop("_target_"))
        return target, _locate(target), node
    if is_code(name):
        return name, _subclass(load_object(name, KEY), KEY, name), node
    refuse_unknown(name)
    if name == "auto":
        alpha = node.get("alpha", config.data.alpha)
        name = "iid" if alpha is None else "dirichlet"
        if alpha is None:
            node.pop("alpha", None)
        elif each is not None:
            return name, flower.InnerDirichletPartitioner, node
    return name, SHIPPED[name], node


def checked(own: Any) -> flower.Partitioner:
    """Return an object that is to deal samples; refuse one that does not."""
    if isinstance(own, flower.Partitioner):
        if own.is_dataset_assigned():
            problem = "has a data set of its own; give one that has dealt nothing yet"
            raise ConfigError(KEY, type(own).__name__, problem)
        return own
    shown = own.__name__ if inspect.isclass(own) else own
    problem = "must be a name, or an object such as IidPartitioner(num_partitions=5)"
    raise ConfigError(KEY, shown, problem)


def _locate(target: str) -> type[flower.Partitioner]:
    allowed = [f"flwr_datasets.partitioner.{name}" for name in flower.__all__]
    try:
        found = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{KEY}._target_", target, f"not found ({error})", allowed) from error
    return _subclass(found, f"{KEY}._target_", target)


def _subclass(found: Any, key: str, name: str) -> type[flower.Partitioner]:
    if not (inspect.isclass(found) and issubclass(found, flower.Partitioner)):
        problem = "must be a class that subclasses flwr_datasets.partitioner.Partitioner"
        raise ConfigError(key, name, problem)
    return found


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Return what the constructor of `kind` takes."""
    return signature(kind)


def made_of(config: RunConfig, each: int | None) -> flower.Partitioner:
    """Return the partitioner that ``data.partitioner`` means, which has dealt nothing yet.

    Raises
    ------
    ConfigError
        If it, or a parameter, cannot be used.
    """
    name, kind, given = choose(config, each)
    try:
        return kind(**keywords(config, name, kind, given, each))
    except (ValueError, TypeError) as error:
        raise ConfigError(*at_fault(given, name, error), one_line(str(error), PROBLEM)) from error


def at_fault(given: dict[str, Any], name: str, error: Exception) -> tuple[str, Any]:
    """Return the key and the value that a partitioner complains of: itself, or a parameter."""
    told = str(error).lower()
    own = [key for key in given if key not in ("name", "_target_")]
    about = next((key for key in own if key in told), None)
    return (KEY, name) if about is None else (f"{KEY}.{about}", given[about])


def keywords(
    config: RunConfig, name: str, kind: type, given: dict[str, Any], each: int | None
) -> dict[str, Any]:
    """Return the constructor's arguments: the user's, and what the run knows for the others."""
    accepted = parameters(kind)
    for key, value in given.items():
        if key not in accepted:
            raise ConfigError(
                f"{KEY}.{key}", value, "unknown key", [f"{KEY}.{one}" for one in accepted]
            )
        checked_value(f"{KEY}.{key}", value, accepted[key])
    known: dict[str, Any] = {
        "num_partitions": config.population,
        "partition_by": "label",
        "seed": stream(config.seed, SERVER, 0, "partition") % 2**32,
        "min_partition_size": config.data.min_partition_size,
        "alpha": config.data.alpha,
        "partition_sizes": None if each is None else [each] * config.population,
    }
    if "shard_size" not in given:
        known |= _TWO_CLASSES.get(name, {})
    chosen = {k: v for k, v in known.items() if k in accepted and v is not None} | given
    for key, parameter in accepted.items():
        if parameter.default is inspect.Parameter.empty and key not in chosen:
            shown = "data.alpha" if key == "alpha" else f"{KEY}.{key}"
            raise ConfigError(shown, None, f"{kind.__name__} needs a value")
    return chosen
