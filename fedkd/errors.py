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
        near = get_close_matches(name, self.allowed, n=1, cutoff=0.5)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        return f"{guess} (allowed: {', '.join(self.allowed)})"
