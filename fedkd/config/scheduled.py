"""Keys that take a number, or a schedule ``{name: ..., parameter: value}`` of it over rounds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..errors import ConfigError
from .hints import fits
from .schedule import SCHEDULES, Constant, Schedule

SCHEDULED = ("distil.temperature", "distil.weight")
"""The keys that do."""

EXAMPLE = "{name: linear, start: 4, end: 1}"


def schedule(key: str, value: Any, zero: bool = False) -> Schedule:
    """Return the schedule that the value of a key is.

    Parameters
    ----------
    key : str
        What errors name.
    value : Any
        A number, or ``{"name": ..., parameter: value}``.
    zero : bool
        Whether numbers may be 0; less they never are.

    Raises
    ------
    ConfigError
        For what is neither, an unknown name or parameter, and numbers out of bounds.

    Examples
    --------
    >>> schedule("distil.temperature", {"name": "linear", "start": 4, "end": 1, "rounds": 3}).at(2)
    2.5
    >>> schedule("distil.temperature", {"name": "linaer", "start": 4, "end": 1})
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: distil.temperature.name=linaer: no such schedule; did you mean \
'linear'? (allowed: cosine, exponential, linear, step)
    """
    if isinstance(value, Mapping):
        return _named(key, value, zero)
    if not fits(value, float):
        raise ConfigError(key, value, f"must be a number, or a schedule such as {EXAMPLE}")
    _check_number(key, value, zero)
    return Constant.of(float(value))


def _named(key: str, node: Mapping[str, Any], zero: bool) -> Schedule:
    name, given = node.get("name"), {k: v for k, v in node.items() if k != "name"}
    if not isinstance(name, str) or name not in SCHEDULES:
        problem = "must be given" if name is None else "no such schedule"
        raise ConfigError(f"{key}.name", name, problem, SCHEDULES)
    accepted = {item.name: item for item in fields(SCHEDULES[name])}
    for parameter, value in given.items():
        if parameter not in accepted:
            problem = f"unknown key, {name} has no such parameter"
            raise ConfigError(
                f"{key}.{parameter}", value, problem, [f"{key}.{k}" for k in accepted]
            )
        hint: Any = accepted[parameter].type
        if not fits(value, hint):
            kind = "a number" if hint is float else "an integer"
            raise ConfigError(f"{key}.{parameter}", value, f"must be {kind}")
    for parameter in ("start", "end"):
        if parameter not in given:
            raise ConfigError(f"{key}.{parameter}", None, f"{name} needs this parameter")
        _check_number(f"{key}.{parameter}", given[parameter], zero, SCHEDULES[name].needs)
        given[parameter] = float(given[parameter])
    made = SCHEDULES[name](**given)
    if (flaw := made.flaw()) is not None:
        raise ConfigError(f"{key}.{flaw[0]}", *flaw[1:])
    return made


def _check_number(key: str, value: float, zero: bool, needs: str | None = None) -> None:
    if not math.isfinite(value) or value < 0 or (value == 0 and (needs or not zero)):
        bound = needs or ("at least 0 and finite" if zero else "greater than 0 and finite")
        raise ConfigError(key, value, f"must be {bound}")


def over(key: str, value: Any, rounds: int) -> Any:
    """Return the value of a key with the run's rounds filled in, where it is a schedule without.

    Raises
    ------
    ConfigError
        If that is no schedule over so many rounds.

    Examples
    --------
    >>> over("distil.weight", {"name": "linear", "start": 0, "end": 1}, 10)
    {'name': 'linear', 'start': 0, 'end': 1, 'rounds': 10}
    >>> over("distil.weight", 0.5, 10)
    0.5
    """
    if not isinstance(value, Mapping):
        return value
    filled = dict(value) if value.get("rounds") is not None else {**value, "rounds": rounds}
    schedule(key, filled, zero=True)
    return filled


def with_parts(
    key: str, present: Any, given: Sequence[tuple[str, Any]], removed: Iterable[str] = ()
) -> Any:
    """Return the value of a key with other parts of its schedule, or another one.

    Parameters
    ----------
    key : str
        What errors name.
    present : Any
        What it was: of another schedule, its parts are left out.
    given : sequence of (str, Any)
        Parts of a schedule, and under ``""`` a number, which takes the place of what came before.
    removed : iterable of str
        Parts that are to be as by default.

    Raises
    ------
    ConfigError
        For parts of no schedule, or of one that does not have them.

    Examples
    --------
    >>> warm = {"name": "linear", "start": 0, "end": 1}
    >>> with_parts("distil.weight", warm, [("end", 2)])
    {'name': 'linear', 'start': 0, 'end': 2}
    >>> with_parts("distil.weight", warm, [("", 2)])
    2
    >>> with_parts("distil.weight", 1.0, [("end", 2)])
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: distil.weight.end=2: is a schedule's, and there is none; give \
distil.weight.name too (allowed: cosine, exponential, linear, step)
    """
    for place, (part, value) in enumerate(given):
        if not part:
            return with_parts(key, value, given[place + 1 :], removed)
    node = dict(present) if isinstance(present, Mapping) else {}
    parts = dict(given)
    if parts.get("name", node.get("name")) != node.get("name"):
        node = {}
    if parts and "name" not in (parts | node):
        name, value = next(iter(parts.items()))
        problem = f"is a schedule's, and there is none; give {key}.name too"
        raise ConfigError(f"{key}.{name}", value, problem, SCHEDULES)
    node |= parts
    for part in removed:
        if part not in node:
            raise ConfigError(f"{key}.{part}", "~", "is not set, so it cannot be removed")
        del node[part]
    return node or present
