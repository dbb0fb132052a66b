"""What a class or a field accepts: read it off type hints, check values, say it in plain words."""

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Entry:
    """A configuration key, or a parameter of a plug-in, as tables and pages show it.

    Attributes
    ----------
    key : str
        Its name.
    type : str
        ``int``, ``float | null`` and so on; empty where it is not known.
    default : str
        As it would be written; empty where there is none.
    allowed : str
        Bounds, or the values to choose from; empty where its type says all, or only its words do.
    words : str
        What it means.
    """

    key: str
    type: str
    default: str
    allowed: str
    words: str


_SPOKEN: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    NoneType: "null",
    None: "null",
}


_ACCEPTED: dict[Any, Any] = {
    int: int,
    float: (int, float),
    bool: bool,
    str: str,
    NoneType: NoneType,
    None: NoneType,
}


def fits(value: object, hint: Any) -> bool:
    """Say whether a configuration value can be used where `hint` is asked for.

    Configuration values are None, bool, int, float, str, lists and dicts. An integer passes for a
    float, a bool never passes for a number. A hint that no configuration value could be checked
    against (a class of the plug-in's own) accepts everything: its constructor has the last word.

    Examples
    --------
    >>> fits(3, float), fits(True, int), fits("x", float | None), fits(None, float | None)
    (True, False, False, True)
    """
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if kind is Literal:
        return any(value == option and type(value) is type(option) for option in get_args(hint))
    if kind in _ACCEPTED:
        return isinstance(value, _ACCEPTED[kind]) and (kind is bool or not isinstance(value, bool))
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, Mapping)
    if isinstance(kind, type) and issubclass(kind, Collection | Iterable):
        return isinstance(value, Collection) and not isinstance(value, str | Mapping)
    return True


def spoken(hint: Any) -> str:
    """Return what `hint` allows, as the end of the sentence "must be ...".

    Examples
    --------
    >>> spoken(int), spoken(float | None), spoken(Literal["mean", "sum"])
    ('an integer', 'a number or null', "one of 'mean', 'sum'")
    """
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(spoken(option) for option in get_args(hint)))
    if kind is Literal:
        return "one of " + ", ".join(repr(option) for option in get_args(hint))
    if isinstance(kind, type) and kind not in _SPOKEN:
        if issubclass(kind, Mapping):
            return "a mapping such as {name: value}"
        if issubclass(kind, Collection | Iterable):
            return f"a list such as {'[a, b]' if get_args(hint) == (str,) else '[1, 2]'}"
    return _SPOKEN.get(kind, getattr(kind, "__name__", str(kind)))


def type_text(hint: Any) -> str:
    """Return the name of a type as configurations have it.

    Examples
    --------
    >>> type_text(float | None), type_text(Literal["l2", "kl"]), type_text(list[int])
    ('float | null', 'str', 'list')
    """
    kind = get_origin(hint) or hint
    if kind is Annotated:
        return type_text(get_args(hint)[0])
    if kind in (Union, UnionType):
        return " | ".join(dict.fromkeys(type_text(option) for option in get_args(hint)))
    if kind is Literal:
        return " | ".join(dict.fromkeys(type_text(type(option)) for option in get_args(hint)))
    names = {None: "null", NoneType: "null", Any: "any"}
    return names.get(kind) or str(getattr(kind, "__name__", kind))


def choices(hint: Any) -> Iterator[str]:
    """Yield the values that a hint names one by one.

    Examples
    --------
    >>> list(choices(Literal["l2", "kl"] | None))
    ['l2', 'kl']
    """
    if get_origin(hint) is Literal:
        yield from map(default_text, get_args(hint))
    elif get_origin(hint) in (Union, UnionType, Annotated):
        for option in get_args(hint):
            yield from choices(option)


def default_text(value: object) -> str:
    """Return a value as one would write it for a key.

    Examples
    --------
    >>> default_text(None), default_text(True), default_text((1, 2)), default_text(5e-4)
    ('null', 'true', '[1, 2]', '0.0005')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value)


def signature(cls: Any) -> dict[str, inspect.Parameter]:
    """Return the keyword parameters of a class, or of a function that stands for one.

    Annotations are resolved as far as they can be.
    """
    found: dict[str, inspect.Parameter] = {}
    for owner in cls.__mro__ if isinstance(cls, type) else (_speaker(cls),):
        if owner is object or not {"__init__", "__signature__"} & set(vars(owner)):
            continue
        is_open = False
        for parameter in _own_parameters(owner):
            if parameter.kind is parameter.VAR_KEYWORD:
                is_open = True
            elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, parameter)
        if not is_open:
            break
    return found


def _speaker(function: Any) -> type:
    """Return a class that has a function's signature."""
    try:
        told = inspect.signature(function, eval_str=True)
    except (NameError, TypeError, ValueError):  # a built-in one, or names for type checkers
        told = inspect.Signature()
    return type("Function", (), {"__signature__": told})


def _own_parameters(owner: type) -> Iterator[inspect.Parameter]:
    if "__signature__" in vars(owner):  # a class that speaks for another, such as an adapter
        yield from inspect.signature(owner).parameters.values()
        return
    init = vars(owner)["__init__"]
    try:
        hints = get_type_hints(init)
    except (NameError, TypeError):  # names that only a type checker imports
        hints = {}
    for parameter in list(inspect.signature(init).parameters.values())[1:]:
        yield parameter.replace(annotation=hints.get(parameter.name, inspect.Parameter.empty))
