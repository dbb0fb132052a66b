"""What can go wrong, and the exit code each kind of failure has on the command line."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

VALUE, PROBLEM = 200, 1000
"""Characters that a message has of a value, and of a problem or of names; see `one_line`."""


class FedkdError(Exception):
    """Base of every error that fedkd raises on purpose; the text is one readable line."""

    exit_code = 1


class RunError(FedkdError):
    """A run that started could not finish (exit code 1)."""


class ConfigError(FedkdError):
    """Something the user gave cannot be used (exit code 2).

    Parameters
    ----------
    key : str
        The configuration key at fault, such as ``"data.alpha"``.
    value : object
        What was given; a message never has the whole of an array or of a long text.
    problem : str
        What is wrong with it and what to do instead.
    allowed : iterable of str, optional
        The valid names, where the value or key is a name. The nearest one is suggested.

    Examples
    --------
    >>> print(ConfigError("clients", 0, "must be at least 1"))
    clients=0: must be at least 1
    >>> print(ConfigError("strategy", "knf", "no such strategy", ["fedmd", "knfu", "local"]))
    strategy=knf: no such strategy; did you mean 'knfu'? (allowed: fedmd, knfu, local)
    >>> import numpy as np
    >>> print(ConfigError("fit.lr", [np.zeros((60, 8)), 1], "must be a number"))
    fit.lr=[ndarray[60, 8], 1]: must be a number
    """

    exit_code = 2

    def __init__(self, key: str, value: object, problem: str, allowed: Iterable[str] = ()) -> None:
        self.key, self.value, self.problem = key, value, problem
        self.allowed = sorted(allowed)
        told = one_line(problem, PROBLEM)
        super().__init__(f"{key}={shortened(value)}: {told}{self._hint()}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes: the value as it is shown, since it may not travel."""
        return type(self), (self.key, _Sketch(shortened(self.value)), self.problem, self.allowed)

    def _render_traceback_(self) -> list[str]:
        """Have a notebook show the line alone: the mistake is in the cell, and not in fedkd."""
        return [f"{type(self).__name__}: {self}", *getattr(self, "__notes__", [])]

    def _hint(self) -> str:
        if not self.allowed:
            return ""
        name = self.key if "unknown key" in self.problem else shortened(self.value)
        near = None if self.value is None else _nearest(name, self.allowed)
        guess = f"; did you mean {shortened(near)!r}?" if near else ""
        return f"{guess} (allowed: {one_line(', '.join(self.allowed), PROBLEM)})"


def shortened(value: object) -> str:
    """Return what stands for a value in one line of a message.

    Examples
    --------
    >>> shortened({"x": range(3), "y": None})
    "{'x': range(0, 3), 'y': null}"
    >>> len(shortened("0123456789" * 90))
    200
    """
    try:
        return one_line(str(_sketch(value)), VALUE)
    except Exception:  # an object that cannot even be printed
        return type(value).__name__


class _Sketch(str):
    """A text that a list shows without quotes."""

    __repr__ = str.__str__


def _sketch(value: object) -> object:
    """Return a value with type and shape in place of each array, and null for None, some deep."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return _Sketch(f"{type(value).__name__}{list(shape)}")
    if value is None or isinstance(value, bool):  # as one writes it for a key
        return _Sketch({None: "null", True: "true", False: "false"}[value])
    if isinstance(value, list):
        return [_sketch(inner) for inner in value[:VALUE]]
    if isinstance(value, tuple):
        return tuple(_sketch(inner) for inner in value[:VALUE])
    if type(value) is dict:
        return {name: _sketch(inner) for name, inner in list(value.items())[:VALUE]}
    return value


def one_line(text: str, longest: int) -> str:
    """Return a text without what would steer a terminal, and without its middle if it is long."""
    text = "".join(char if char.isprintable() else " " for char in text)
    if len(text) <= longest:
        return text
    tail = longest // 4
    return f"{text[: longest - tail - 5]} ... {text[-tail:]}"


def _nearest(name: str, allowed: list[str]) -> str | None:
    """Return the allowed name most like `name`; of dotted ones what differs must be alike too.

    Examples
    --------
    >>> _nearest("data.alhpa", ["data.alpha", "data.name"])
    'data.alpha'
    >>> _nearest("data.partitioner.num_shards", ["data.partitioner.partition_by"])
    >>> _nearest("fit.learning_rate", ["fit.epochs", "fit.lr"])
    'fit.lr'
    """
    for near in get_close_matches(name, allowed, n=3, cutoff=0.5):
        ends = [one.rpartition(".")[2] for one in (name, near)]
        if get_close_matches(ends[0], ends[1:], cutoff=0.5) or ends[1].startswith(ends[0]):
            return near
    short = abbreviated(name)
    same = [one for one in allowed if one.rpartition(".")[2] == short.rpartition(".")[2]]
    return next(iter(get_close_matches(short, same, n=1, cutoff=0)), None)


def abbreviated(name: str) -> str:
    """Return a name with the initials of its last part's words, if those are several.

    Examples
    --------
    >>> abbreviated("fit.learning_rate"), abbreviated("fit.rate")
    ('fit.lr', 'fit.rate')
    """
    head, dot, last = name.rpartition(".")
    words = last.split("_")
    return f"{head}{dot}{''.join(word[:1] for word in words)}" if words[1:] else name
