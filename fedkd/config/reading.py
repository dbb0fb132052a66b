"""Files of a run directory are somebody's data: one that is not as fedkd wrote it is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError, FedkdError


@contextmanager
def readable(key: str, path: str | Path, problem: str = "cannot be read") -> Iterator[None]:
    """Turn whatever goes wrong while something of a run directory is read into a `ConfigError`.

    Examples
    --------
    >>> with readable("run", "runs/a"):
    ...     {}["strategy"]
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: run=runs/a: cannot be read: KeyError: 'strategy'
    """
    try:
        yield
    except FedkdError:
        raise
    except Exception as error:  # each library raises its own
        reason = (str(error).splitlines() or [""])[0][:300]
        named = reason if isinstance(error, OSError) else f"{type(error).__name__}: {reason}"
        raise ConfigError(key, path, f"{problem}: {named}") from error
