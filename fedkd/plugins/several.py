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
    seam: Seam, node: Mapping[str, Any], what: str, shared: Iterable[str] = ()
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

    Raises
    ------
    ConfigError
        For an unknown name or parameter.
    """
    names, shared = names_of(node, seam.key, what), set(shared)
    accepted = {name: parameters(seam.resolve(name)).keys() for name in names}
    rest = {k: v for k, v in node.items() if k != "name" and k not in names}
    taken = {key for keys in accepted.values() for key in keys}
    if names == ["none"]:  # a sweep over them may include it
        taken = {key for cls in seam.shipped().values() for key in parameters(cls)}
    for key, value in rest.items():
        if key not in taken | shared:
            allowed = [f"{seam.key}.{one}" for one in taken | shared]
            problem = f"unknown key, {' and '.join(names)} has no such parameter"
            raise ConfigError(f"{seam.key}.{key}", value, problem, allowed)
    return {
        name: {"name": name}
        | {k: v for k, v in rest.items() if k in accepted[name]}
        | dict(node.get(name) or {})
        for name in names
    }


def made_of(nodes: Mapping[str, Node], make: Callable[[Node], Any]) -> dict[str, Any]:
    """Return what is made of each node, by name; ``none`` is nothing."""
    made = {name: make(node) for name, node in nodes.items()}
    return {name: one for name, one in made.items() if name != "none"}
