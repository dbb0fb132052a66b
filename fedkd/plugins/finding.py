"""Plug-ins: find a class by its short name or its file, check its parameters, and create it.

A room is a sub-package of fedkd with a class a module, named like the module: ``knfu.py`` defines
``KnFu`` and ``reverse_kl.py`` ``ReverseKL``. The module's name is the short name. Nothing is
registered: a class's allowed parameters are those of its ``__init__``.
"""

import inspect
import math
import pkgutil
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from ..config.hints import fits, signature, spoken
from ..ending import is_interrupt
from ..errors import ConfigError, FedkdError
from .loading import by_value, is_code, load_object

__all__ = [
    "REQUIRED",
    "available",
    "by_value",
    "checked_value",
    "create",
    "describe",
    "load_object",
    "parameters",
    "resolve",
    "vet",
]

REQUIRED = inspect.Parameter.empty
"""The default of a parameter that has none."""

Adapt = Callable[[type], type | None]


def available(room: str, base: type) -> dict[str, type[Any]]:
    """Return the classes of a room by their short names.

    Parameters
    ----------
    room : str
        Sub-package of fedkd, such as ``"strategies"``. All its modules are imported.
    base : type
        What the classes subclass. Modules without such a class of their name are left out.
    """
    classes = {name: _class_of(room, name, base) for name in short_names(room)}
    return {name: cls for name, cls in classes.items() if cls is not None}


def short_names(room: str) -> list[str]:
    """Return the names of a room's modules that a class may be called by; imports none of them."""
    spec = find_spec(f"fedkd.{room}")
    places = spec.submodule_search_locations if spec else None
    return sorted(one.name for one in pkgutil.iter_modules(places or []) if _is_short(one.name))


def is_available(name: str, room: str, base: Callable[[], type]) -> bool:
    """Say whether a room has a class of that short name; no other module of it is imported."""
    return name in short_names(room) and _class_of(room, name, base()) is not None


def resolve(
    spec: str, room: str, base: type, key: str = "strategy", adapt: Adapt | None = None
) -> type:
    """Return the class that `spec` names.

    Parameters
    ----------
    spec : str
        A short name of the room, ``"FILE.py:Class"`` or ``"package.module:Class"``.
    room, base
        See `available`.
    key : str
        The configuration key that `spec` was given for, named in errors.
    adapt : callable, optional
        Turns a plug-in class of another family into a subclass of `base`, or returns None.

    Raises
    ------
    ConfigError
        If there is no such class, or it is no subclass of `base` and cannot be adapted to one.
    """
    spec = str(spec)
    if not is_code(spec):
        cls = _class_of(room, spec, base) if _is_short(spec) else None
        if cls is None:
            kind = key.rpartition(".")[-1]
            raise ConfigError(key, spec, f"no such {kind}", available(room, base))
        return cls
    found = load_object(spec, key)
    if not isinstance(found, type):
        raise ConfigError(key, spec, f"is a {type(found).__name__}, not a class")
    if issubclass(found, base):
        return found
    adapted = adapt(found) if adapt else None
    if adapted is None:
        wanted = f"{base.__module__}.{base.__name__}"
        raise ConfigError(key, spec, f"{found.__name__} is not a subclass of {wanted}")
    return adapted


def parameters(cls: Any) -> dict[str, Any]:
    """Return the names and defaults of everything that ``cls(...)`` accepts by keyword.

    ``**kwargs`` in ``__init__`` is read as "and what the base class accepts".

    Examples
    --------
    >>> class Base:
    ...     def __init__(self, temperature=1.0): ...
    >>> class Nearest(Base):
    ...     def __init__(self, beta, **base): ...
    >>> parameters(Nearest)
    {'beta': <class 'inspect._empty'>, 'temperature': 1.0}
    """
    return {name: parameter.default for name, parameter in signature(cls).items()}


def create(
    node: dict[str, Any],
    room: str,
    base: type,
    key: str,
    adapt: Adapt | None = None,
    known: Mapping[str, Any] | None = None,
) -> Any:
    """Return an object of the class and with the parameters that a configuration node names.

    Parameters
    ----------
    node : dict
        ``{"name": short name or FILE:Class, parameter: value, ...}``.
    room, base, key, adapt
        See `resolve`.
    known : mapping, optional
        Parameters that the run fills in: those that are no key of the user's (``base.from_run``).

    Raises
    ------
    ConfigError
        If the class cannot be found, does not have such a parameter, lacks one that has no
        default, or refuses a value.
    """
    return build(named(node, room, base, key, adapt), node, base, key, known)


def build(
    cls: type,
    node: Mapping[str, Any],
    base: type,
    key: str,
    known: Mapping[str, Any] | None = None,
) -> Any:
    """Return an object of a class with the parameters of a node, which `create` found it for."""
    given, accepted = arguments(cls, node, base, key)
    try:
        return cls(**given, **(known or {}))
    except (TypeError, ValueError) as error:
        about = re.fullmatch(r"(\w+)=(\S+) (.+)", str(error), re.DOTALL)
        if about and about[1] in accepted:  # "clip=0 must be greater than 0": which key that is
            value = given.get(about[1], about[2])
            raise ConfigError(f"{key}.{about[1]}", value, about[3]) from error
        raise ConfigError(key, node["name"], str(error)) from error
    except FedkdError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        problem = " ".join(f"cannot be made: {type(error).__name__}: {error}".split())
        raise ConfigError(key, node["name"], problem) from error


def vet(
    node: Mapping[str, Any], room: str, base: type, key: str, adapt: Adapt | None = None
) -> None:
    """Refuse what `create` would, but for values that only the class itself refuses."""
    arguments(named(node, room, base, key, adapt), node, base, key)


def named(
    node: Mapping[str, Any], room: str, base: type, key: str, adapt: Adapt | None = None
) -> type:
    """Return the class that a configuration node names; see `create`."""
    if not node.get("name"):
        raise ConfigError(f"{key}.name", node.get("name"), "must be given", available(room, base))
    return resolve(node["name"], room, base, key, adapt)


def arguments(
    cls: type, node: Mapping[str, Any], base: type, key: str
) -> tuple[dict[str, Any], dict[str, inspect.Parameter]]:
    """Return a node's parameters in the types of a class, and which parameters that has."""
    given = {name: value for name, value in node.items() if name != "name"}
    filled = from_run(base)
    accepted = {name: kind for name, kind in signature(cls).items() if name not in filled}
    given = checked(node["name"], given, accepted, key)
    for name, parameter in accepted.items():
        if parameter.default is REQUIRED and name not in given:
            raise ConfigError(f"{key}.{name}", None, f"{node['name']} needs this parameter")
    return given, accepted


def checked(
    owner: str, given: Mapping[str, Any], accepted: Mapping[str, inspect.Parameter], key: str
) -> dict[str, Any]:
    """Return parameters in the types that are asked for.

    Parameters
    ----------
    owner : str
        Whose they are, as the user named it.
    given, accepted : mapping
        Their values, and what there may be.
    key : str
        What errors name, with a dot and the parameter.

    Raises
    ------
    ConfigError
        If there is no such parameter, or it is no such value.
    """
    for name, value in given.items():
        if name not in accepted:
            allowed = [f"{key}.{other}" for other in accepted]
            problem = f"unknown key, {owner} has no such parameter"
            raise ConfigError(f"{key}.{name}", value, problem, allowed)
    return {name: checked_value(f"{key}.{name}", given[name], accepted[name]) for name in given}


def from_run(base: type) -> tuple[str, ...]:
    """Return the parameters of a family of plug-ins that the run fills in."""
    return getattr(base, "from_run", ())


def own_words(found: Any) -> str:
    """Return the docstring of a class or function, and no base's."""
    return (vars(found).get("__doc__") if isinstance(found, type) else found.__doc__) or ""


def describe(cls: Any) -> tuple[str, list[tuple[str, Any]]]:
    """Return the first line of the class's docstring and its (parameter, default) pairs."""
    lines = own_words(cls).strip().splitlines()
    return (lines[0] if lines else ""), list(parameters(cls).items())


def _is_short(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_") and name != "base"


def _class_of(room: str, name: str, base: type) -> type | None:
    """Return the class of a room's module: the one named like it, but for case and underscores."""
    path = f"fedkd.{room}.{name}"
    if find_spec(path) is None:
        return None
    return _named_class(import_module(path), name, base)


@cache  # the classes of whole rooms are asked for several times a run
def _named_class(module: ModuleType, name: str, base: type) -> type | None:
    classes = {
        found.lower(): cls
        for found, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and issubclass(cls, base) and not found.startswith("_")
    }
    return classes.get(name.replace("_", ""))


def checked_value(key: str, value: Any, parameter: inspect.Parameter) -> Any:
    """Return `value` in the parameter's type; a ConfigError says what it must be."""
    hint, default = parameter.annotation, parameter.default
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(key, value, "must be a number")
    if hint is REQUIRED and default is not None and default is not REQUIRED:
        # `beta=1` without an annotation is a number: nobody means "integers only" by it.
        hint = float | int if type(default) is int else type(default)
    if hint is REQUIRED or (value is None and default is None):
        return value
    if not fits(value, hint):
        raise ConfigError(key, value, f"must be {spoken(hint)}")
    return float(value) if hint is float else value
