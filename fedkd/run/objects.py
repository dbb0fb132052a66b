"""Python objects among the settings: each leaves its name there, and is handed on beside them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..clients.guarding import Guards, name_of
from ..config import RunConfig
from ..data import HELD
from ..errors import ConfigError
from ..plugins.given import told
from ..plugins.table import SEAMS
from ..rounds.protocol import Strategy

Classes = Mapping[str, type]


@dataclass(frozen=True)
class Objects:
    """Python objects given in place of names in the configuration."""

    strategy: Strategy | None = None
    data: Any = None
    model: Any = None
    transfer: Any = None
    held: Mapping[str, Any] = field(default_factory=dict)
    """who holds what, by the keys of `fedkd.data.HELD`"""
    guard: Guards | Classes | None = None
    """guards, or those of the configuration's that are classes, by name"""
    objective: Any = None
    """an objective, or a class of such"""


GIVEN = {
    "strategy": "strategy",
    "data": "data",
    "model": "model",
    "transfer.data": "transfer",
    "guard": "guard",
    "objective": "objective",
}
"""Keys whose values may be Python objects, and where those are in `Objects`."""


def strategy_in(settings: dict[str, Any]) -> tuple[dict[str, Any], Strategy | None]:
    """Return the settings with its type in the place of a strategy, and that, if it is one.

    A class takes its parameters from ``strategy.*``.
    """
    value: Any = settings["strategy"]
    if isinstance(value, str | Path | Mapping | None):
        return settings, None
    if isinstance(value, Strategy):
        name = type(value).__name__
        own_parameters("strategy", name, settings)
        return settings | {"strategy": {"name": name, **told(value)}}, value
    prefix = "strategy."
    own = {k.removeprefix(prefix): v for k, v in settings.items() if k.startswith(prefix)}
    node = {"name": getattr(value, "__name__", type(value).__name__)} | own
    return settings | {"strategy": node}, strategy_of(value, node)


def strategy_of(cls: Any, node: Mapping[str, Any]) -> Strategy:
    """Return an object of a strategy's class, with the parameters of a configuration's node."""
    if not (isinstance(cls, type) and issubclass(cls, Strategy)):
        problem = "must be a name, a dict, or a Strategy object or class; Flower's go in"
        raise ConfigError("strategy", node["name"], f"{problem} FlowerStrategy(...)")
    made: Strategy = SEAMS["strategies"].build(cls, dict(node))
    return made


@contextmanager
def given_again(config: RunConfig, objects: Objects) -> Iterator[None]:
    """Say how a run that was made with Python objects goes on, where one is not given again.

    What it left in the configuration is the name of its type, which nothing else is called.
    """
    try:
        yield
    except ConfigError as error:
        name = str(error.value)
        again = error.key in GIVEN and getattr(objects, GIVEN[error.key]) is None
        if config.resume is None or not again or not name.isidentifier():
            raise
        call = f"fedkd.resume({config.resume!r}, {_keyword(error.key)})"
        problem = f"is no name that there is; if it was a Python object, go on from Python: {call}"
        raise ConfigError(error.key, name, problem) from error


def _keyword(key: str) -> str:
    return f"**{{{key!r}: ...}}" if "." in key else f"{key}=..."


def guards_in(settings: dict[str, Any]) -> tuple[dict[str, Any], Guards | Classes | None]:
    """Return the settings with their types in the place of guards, and those, if there are such.

    Classes take their parameters from ``guard.*``, as names do.
    """
    value: Any = settings.get("guard")
    several = isinstance(value, list | tuple)
    items = list(value) if several else [value]
    if value is None or all(isinstance(one, str | Path | Mapping) for one in items):
        return settings, None
    names = [name_of(one) for one in items]
    if all(isinstance(one, str | type) for one in items):
        classes = {n: one for n, one in zip(names, items, strict=True) if isinstance(one, type)}
        if wrong := [c for c in classes.values() if not issubclass(c, SEAMS["guards"].cls)]:
            Guards.of(wrong)  # which says so
        return settings | {"guard": names if several else names[0]}, classes
    own_parameters("guard", " and ".join(names), settings)
    own = {name: told(one) for name, one in zip(names, items, strict=True)}
    node = {"name": names, **own} if several else {"name": names[0], **own[names[0]]}
    return settings | {"guard": node}, Guards.of(items)


def objective_in(settings: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return the settings with its type in the place of an objective, and that, if it is one."""
    value: Any = settings.get("objective")
    if value is None or isinstance(value, str | Path | Mapping):
        return settings, None
    cls = value if isinstance(value, type) else type(value)
    if not issubclass(cls, SEAMS["objectives"].cls):
        problem = "must be a name, a dict, or an Objective object or class"
        raise ConfigError("objective", value, problem)
    if value is cls:
        return settings | {"objective": cls.__name__}, value
    own_parameters("objective", cls.__name__, settings)
    node = {"name": cls.__name__, **told(value)}
    node |= {"temperature": value.temperature} if hasattr(value, "temperature") else {}
    return settings | {"objective": node}, value


def own_parameters(key: str, name: str, settings: Mapping[str, Any]) -> None:
    """Refuse parameters of what is given as an object: they would change nothing."""
    for other, value in settings.items():
        if other.startswith(f"{key}."):
            problem = f"{name} is given as an object, which has its own; leave it out"
            raise ConfigError(other, value, problem)


def held_in(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings with their types in the place of objects, and who holds what."""
    held: dict[str, Any] = {}
    for key in HELD:
        settings, value = taken(settings, key, _is_node if key == "data.partitioner" else is_name)
        held |= {} if value is None else {key: value}
    return settings, held


def is_name(value: Any) -> bool:
    """Say whether a setting is a name or a place, and no object."""
    return isinstance(value, str | Path)


def _is_node(value: Any) -> bool:
    return isinstance(value, str | Path | Mapping)


def taken(
    settings: dict[str, Any], key: str, is_plain: Callable[[Any], bool]
) -> tuple[dict[str, Any], Any]:
    """Return the settings with its type in the place of an object, and that; None if it is none."""
    group, name = key.split(".")
    node = settings.get(group)
    inside = isinstance(node, Mapping) and name in node
    value = node[name] if isinstance(node, Mapping) and inside else settings.get(key)
    if value is None or is_plain(value):
        return settings, None
    shown = type(value).__name__
    return settings | ({group: {**node, name: shown}} if node and inside else {key: shown}), value
