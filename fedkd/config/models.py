"""The value of ``model``: a name, ``{name: ..., parameter: value}``, or a list of these."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ConfigError


def with_parameters(
    present: Any, given: Sequence[tuple[str, Any]], removed: Iterable[str] = ()
) -> Any:
    """Return a model with other parameters, or another model.

    Parameters
    ----------
    present : Any
        What it was so far; of another model, its parameters are left out.
    given : sequence of (str, Any)
        Parameters, and under ``name`` the model.
    removed : iterable of str
        Parameters that are its own again.

    Raises
    ------
    ConfigError
        If there are several models, and so no telling whose parameters these are; or one that is
        removed is not there.

    Examples
    --------
    >>> with_parameters("mlp", [("hidden", 64)])
    {'name': 'mlp', 'hidden': 64}
    >>> with_parameters({"name": "mlp", "hidden": 64}, [("name", "lenet5")])
    'lenet5'
    >>> with_parameters(["mlp", "lenet5"], [("hidden", 64)])
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: model.hidden=64: there are several models; give it in the list, \
as in model=[{name: mlp, hidden: 64},lenet5]
    """
    node = dict(present) if isinstance(present, Mapping) else {"name": present}
    names = [value for key, value in given if key == "name"]
    if names and names[-1] != node["name"]:
        node = {"name": names[-1]}
    node |= {key: value for key, value in given if key != "name"}
    for key in removed:
        if key not in node or key == "name":
            raise ConfigError(f"model.{key}", "~", "is not set, so it cannot be removed")
        del node[key]
    if not isinstance(node["name"], list):
        return _plain(node)
    for key, value in node.items():
        if key != "name":
            problem = "there are several models; give it in the list, as in"
            example = "model=[{name: mlp, hidden: 64},lenet5]"
            raise ConfigError(f"model.{key}", value, f"{problem} {example}")
    return [_plain(one) if isinstance(one, Mapping) else one for one in node["name"]]


def _plain(node: Mapping[str, Any]) -> Any:
    """Return a model without parameters as its name."""
    if list(node) == ["name"]:
        return node["name"]
    if not isinstance(node.get("name"), str):
        problem = "must be a name or FILE.py:Class; of a Python class give functools.partial(...)"
        raise ConfigError("model.name", node.get("name"), problem)
    return dict(node)
