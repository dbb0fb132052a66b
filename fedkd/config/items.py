"""Settings, as overrides and dicts have them, put on a structured configuration: a leaf each."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import ConfigError
from .models import with_parameters
from .scheduled import SCHEDULED, with_parts
from .schema import FREE, GROUPS, MODEL, NAMED, check_item, is_parameter

Items = list[tuple[str, Any]]
REMOVED = object()
"""The value of a parameter that is taken away (``~KEY``)."""


def put(tree: DictConfig, given: Items) -> Items:
    """Set the given items on a structured config; return them, a leaf each."""
    items = [leaf for key, value in given for leaf in _spread(key, value)]
    items = _one_model(_as_given(tree, MODEL), items)
    for key in SCHEDULED:
        items = _one_schedule(key, _as_given(tree, key), items)
    whole = {key for key, value in given if isinstance(value, Mapping) and "name" in value}
    for node in FREE:
        names = [value for key, value in items if key == f"{node}.name"]
        if node in whole or (names and names[-1] != OmegaConf.select(tree, node).get("name")):
            # Another method does not take the parameters that a preset gave to the first, and what
            # is given with its name has no others.
            OmegaConf.update(tree, node, {}, merge=False)
    for key, value in items:
        try:
            _set(tree, key, value)
        except OmegaConfBaseException as error:
            raise ConfigError(key, value, first_line(error)) from error
    return items


def _spread(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield one checked item per leaf: dicts taken apart, ``data=NAME`` read as ``data.name``."""
    empty = isinstance(value, Mapping) and not value  # no schedule
    taken_apart = (*GROUPS, *FREE, MODEL, *(() if empty else SCHEDULED))
    if isinstance(value, Mapping) and key in taken_apart:
        for name, inner in value.items():
            yield from _spread(f"{key}.{name}", inner)
    elif value is REMOVED:
        if not is_parameter(key):
            raise ConfigError(key, "~", "only a plug-in's parameters can be removed")
        yield key, value
    else:
        key = f"{key}.name" if key in NAMED else key
        value = _plain(value)
        check_item(key, value)
        yield key, value


def _as_given(tree: DictConfig, key: str) -> Any:
    present = OmegaConf.select(tree, key)
    return OmegaConf.to_container(present) if OmegaConf.is_config(present) else present


def _one_model(present: Any, items: Items) -> Items:
    """Return the items with those of the model put together: a name, with its parameters if any."""
    rest, given, removed = [], [], []
    for key, value in items:
        if key != MODEL and not key.startswith(f"{MODEL}."):
            rest.append((key, value))
        elif value is REMOVED:
            removed.append(key.removeprefix(f"{MODEL}."))
        else:
            given.append(("name" if key == MODEL else key.removeprefix(f"{MODEL}."), value))
    if not given and not removed:
        return items
    return [*rest, (MODEL, with_parameters(present, given, removed))]


def _one_schedule(key: str, present: Any, items: Items) -> Items:
    """Return the items with the parts of a key's schedule put together."""
    own = [item for item in items if item[0] == key or item[0].startswith(f"{key}.")]
    if not own:
        return items
    parts = [(name[len(key) + 1 :], value) for name, value in own]
    given = [part for part in parts if part[1] is not REMOVED]
    removed = [name for name, value in parts if value is REMOVED]
    rest = [item for item in items if not any(item is one for one in own)]
    return [*rest, (key, with_parts(key, present, given, removed))]


def _plain(value: Any) -> Any:
    """Return numpy scalars and paths, which Python callers pass, as configuration values."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value.item() if getattr(value, "shape", None) == () else value


def _set(tree: DictConfig, key: str, value: Any) -> None:
    if value is not REMOVED:
        OmegaConf.update(tree, key, value, merge=False, force_add=True)
        return
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(tree, parent)
    if node is None or name not in node:
        raise ConfigError(key, "~", "is not set, so it cannot be removed")
    OmegaConf.set_struct(node, False)
    del node[name]


def first_line(error: Exception) -> str:
    """Return the first line of what a library says."""
    return str(error).strip().splitlines()[0]
