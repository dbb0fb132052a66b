"""The configuration's keys and types, read off the dataclasses of `fedkd.config`."""

from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass, replace
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from ..errors import ConfigError, abbreviated
from .checked import either, entries, leaves
from .hints import Entry, fits, spoken
from .scheduled import SCHEDULED
from .settings import RunConfig
from .study import StudyConfig

_HINTS = {key: hint for key, hint, _ in leaves(RunConfig)}
_DEFAULTS = {key: default for key, _, default in leaves(RunConfig)}
GROUPS = tuple(key for key, hint in _HINTS.items() if is_dataclass(hint))
"""Keys that hold a group of settings: data, fit, engine, ..."""
LEAVES = {key: hint for key, hint in _HINTS.items() if key not in GROUPS}
"""Type hint of every key that holds a value."""
FREE = tuple(key for key, hint in LEAVES.items() if get_origin(hint) is dict)
"""Keys that choose a plug-in and its parameters, which only the plug-in knows."""
MODEL = "model"
"""The key of a name, of a name with parameters, or of a list of these."""
NAMED = FREE + tuple(key for key in GROUPS if f"{key}.name" in LEAVES)
"""Keys where ``KEY=VALUE`` means ``KEY.name=VALUE``."""
STUDY = tuple(key for key, _, _ in leaves(StudyConfig, "study."))
"""Keys of a sweep, which no run has."""


def keys() -> Iterator[Entry]:
    """Yield every key of a run and of a sweep: type, default, allowed values, what it means."""
    for entry in entries(RunConfig):
        if entry.key in FREE:
            name = _DEFAULTS[entry.key]["name"]
            yield replace(entry, type="name, parameters", default=name)
        else:
            yield entry
    for entry in entries(StudyConfig):
        yield replace(entry, key=f"study.{entry.key}")


def is_parameter(key: str) -> bool:
    """Say whether `key` is a parameter of a plug-in or a schedule, such as ``strategy.beta``."""
    return key.startswith(tuple(f"{node}." for node in (*FREE, MODEL, *SCHEDULED)))


def check_key(key: str, value: Any) -> None:
    """Raise `ConfigError` unless `key` exists, in the schema or as a plug-in's parameter."""
    known = [*_HINTS, "experiment", *STUDY]
    if key == "study":
        raise ConfigError(key, value, "is a group of settings; give one of them", STUDY)
    if key not in known and not is_parameter(key):
        raise ConfigError(key, value, "unknown key", _near(key, known))


def check_item(key: str, value: Any) -> None:
    """Raise `ConfigError` unless `key` exists and `value` is of its type.

    Examples
    --------
    >>> check_item("rounds", 3)
    >>> check_item("rounds", "three")
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: rounds=three: must be an integer
    >>> check_item("seeds", 3)
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: seeds=3: unknown key; did you mean 'seed'? (allowed: seed)
    """
    if key in ("study", *STUDY):
        raise ConfigError(key, value, "is for a sweep; use fedkd run -m, or leave it out")
    check_key(key, value)
    if key in GROUPS:
        inside = [leaf for leaf in LEAVES if leaf.startswith(f"{key}.")]
        raise ConfigError(key, value, "is a group of settings; give one of them", inside)
    if is_parameter(key):
        return
    hint = LEAVES[key]
    takes_text = hint is str or {str, int, bool} & set(get_args(hint)) == {str}
    is_scalar = isinstance(value, int | float | str)
    refers = isinstance(value, str) and "${" in value  # resolved, and checked, later
    if not (refers or (takes_text and is_scalar) or fits(value, hint)):
        known = {entry.key: entry.allowed for entry in entries(RunConfig)}
        words = either(known[key]) if str in get_args(hint) else ""
        raise ConfigError(key, value, f"must be {words or spoken(hint)}")


def _near(key: str, keys: Iterable[str]) -> list[str]:
    """Return the few valid keys that `key` may stand for; naming all forty helps nobody.

    Of a group, all its keys; of what is no group, itself: it takes a value and has no keys.
    """
    keys = list(keys)
    parent = key.rpartition(".")[0]
    while parent and parent not in keys:
        parent = parent.rpartition(".")[0]
    ends = {one.rpartition(".")[-1] for one in (key, key if parent else abbreviated(key))}
    near = {valid for valid in keys if valid.rpartition(".")[-1] in ends}
    if parent:
        near |= {leaf for leaf in LEAVES if leaf.startswith(f"{parent}.")} or {parent}
    else:
        near |= set(get_close_matches(key, keys, n=3, cutoff=0.6))
    return sorted(near) or [valid for valid in keys if "." not in valid]
