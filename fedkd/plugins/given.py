"""Plug-ins that may be given as Python objects tell what they were made with."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar


class Given:
    """Base of those plug-ins: whatever class is derived, its objects note their arguments.

    Attributes
    ----------
    made_with : tuple of (str, object)
        Name and value of each argument.

    Examples
    --------
    >>> class Base(Given):
    ...     def __init__(self, beta=1.0): ...
    >>> class Own(Base):
    ...     def __init__(self, tau, **base):
    ...         super().__init__(**base)
    >>> Own(3, beta=2.0).made_with
    (('tau', 3), ('beta', 2.0))
    """

    made_with: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _noting(cls.__init__)  # type: ignore[method-assign]


def _noting(init: Callable[..., None]) -> Callable[..., None]:
    """Return an ``__init__`` that notes what it is called with; a base's note is overwritten."""
    told = inspect.signature(init)
    several = [one.name for one in told.parameters.values() if one.kind is one.VAR_KEYWORD]

    @wraps(init)
    def noting(self: Any, *values: Any, **named: Any) -> None:
        init(self, *values, **named)
        given = dict(list(told.bind(self, *values, **named).arguments.items())[1:])
        for name in several:
            given |= given.pop(name, {})
        object.__setattr__(self, "made_with", tuple(given.items()))

    return noting


def told(plugin: Any) -> dict[str, Any]:
    """Return what an object was made with, as a configuration says it; of a class, nothing.

    Examples
    --------
    >>> told(Given()), told(Given)
    ({}, {})
    """
    if isinstance(plugin, type):
        return {}
    made = dict(getattr(plugin, "made_with", ()))
    if is_dataclass(plugin):  # its ``__init__`` comes after the class
        made |= {field.name: getattr(plugin, field.name) for field in fields(plugin)}
    return {name: plain(value) for name, value in made.items()}


def plain(value: Any, depth: int = 3) -> Any:
    """Return a value as a configuration may have it; two that differ should do so there, too.

    Arrays become a hash of what is in them, functions and classes their names, objects their class
    and what they hold.

    Examples
    --------
    >>> plain((1, {"a": None})), plain(len)
    ([1, {'a': None}], 'builtins.len')
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one, depth) for one in value]
    if isinstance(value, Mapping):
        return {str(name): plain(one, depth) for name, one in value.items()}
    if hasattr(value, "tolist"):
        inside = value.tolist()
        digest = hashlib.sha256(repr(inside).encode()).hexdigest()[:12]
        return f"{type(value).__name__} {digest}" if isinstance(inside, list) else inside
    return _named(value, depth)


def _named(value: Any, depth: int) -> Any:
    """Return an object's name, and what it holds, `depth` levels deep."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    name = type(value).__qualname__
    if depth == 0:
        return name
    held = told(value) if isinstance(value, Given) else getattr(value, "__dict__", {})
    return {"name": name} | {key: plain(one, depth - 1) for key, one in held.items()}
