"""Plug-ins of which a run may have several: ``KEY=[one,other]``, applied in that order."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import ConfigError
from .finding import parameters
from .seam import Seam

Node = dict[str, Any]


def names_of(node: Mapping[str, Any], key: str, what: str) -> list[str]:
    """Return the names that a configuration has.

    Raises
    ------
    ConfigError
        If there are none, or one stands twice; `what` is what they name.
    """
    given = node.get("name")
    names = [str(name) for name in given] if isinstance(given, list | tuple) else [str(given)]
    if len(set(names)) < len(names) or not names:
        raise ConfigError(key, names, f"must name {what}, each once")
    return names


def nodes_of(
    seam: Seam,
    node: Mapping[str, Any],
    what: str,
    shared: Iterable[str] = (),
    classes: Mapping[str, type] | None = None,
) -> dict[str, Node]:
    """Return each one's own node, by name.

    ``KEY.PARAMETER`` goes to all that have this parameter, ``KEY.NAME.PARAMETER`` to one, and wins.

    Parameters
    ----------
    seam : Seam
        What they are.
    node : mapping
        ``{"name": a name or a list of names, parameter: value, ...}``.
    what : str
        What errors call them.
    shared : iterable of str
        Parameters that are the run's, whatever it has.
    classes : mapping, optional
        Those that are given as classes, by name.

    Raises
    ------
    ConfigError
        For an unknown name or parameter, or a value that nothing could have.
    """
    names, shared = names_of(node, seam.key, what), set(shared)
    found = {name: (classes or {}).get(name) or seam.resolve(name) for name in names}
    accepted = {name: parameters(cls).keys() for name, cls in found.items()}
    rest = {k: v for k, v in node.items() if k != "name" and k not in names}
    taken = {key for keys in accepted.values() for key in keys}
    if names == ["none"]:  # a sweep over them may include it
        taken = {key for cls in seam.shipped().values() for key in parameters(cls)}
    for key, value in rest.items():
        if key not in taken | shared:
            allowed = [f"{seam.key}.{one}" for one in taken | shared]
            problem = f"unknown key, {' and '.join(names)} has no such parameter"
            raise ConfigError(f"{seam.key}.{key}", value, problem, allowed)
        if names == ["none"] and key not in shared:
            _check_value(seam, key, value)
    return {
        name: {"name": name}
        | {k: v for k, v in rest.items() if k in accepted[name]}
        | dict(node.get(name) or {})
        for name in names
    }


def _check_value(seam: Seam, name: str, value: Any) -> None:
    """Refuse a value that none of those with this parameter could have."""
    refused = []
    for one, cls in seam.shipped().items():
        if name in parameters(cls):
            try:
                seam.create({"name": one, name: value})
            except ConfigError as error:
                if error.key == f"{seam.key}.{name}":
                    refused.append(error)
                    continue
            return
    raise refused[0]


def made_of(
    seam: Seam,
    given: Mapping[str, Any],
    nodes: Mapping[str, Node],
    make: Callable[[Node], Any] | None = None,
) -> dict[str, Any]:
    """Return what is made of each node, by name; ``none`` is nothing.

    Errors name a parameter as the configuration's node `given` has it.
    """
    made = {}
    for name, node in nodes.items():
        try:
            made[name] = (make or seam.create)(node)
        except ConfigError as error:
            key = error.key.removeprefix(f"{seam.key}.")
            if key not in (given.get(name) or {}):
                raise
            key = f"{seam.key}.{name}.{key}"
            raise ConfigError(key, error.value, error.problem, error.allowed) from error
    return {name: one for name, one in made.items() if name != "none"}
