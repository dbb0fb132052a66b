"""What can go wrong, and the exit code each kind of failure has on the command line."""

from collections.abc import Iterable
from difflib import get_close_matches


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
        What was given.
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
    """

    exit_code = 2

    def __init__(self, key: str, value: object, problem: str, allowed: Iterable[str] = ()) -> None:
        self.key, self.value, self.problem = key, value, problem
        self.allowed = sorted(allowed)
        super().__init__(f"{key}={value}: {problem}{self._hint()}")

    def _hint(self) -> str:
        if not self.allowed:
            return ""
        name = self.key if "unknown key" in self.problem else str(self.value)
        near = _nearest(name, self.allowed)
        guess = f"; did you mean {near!r}?" if near else ""
        return f"{guess} (allowed: {', '.join(self.allowed)})"


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
