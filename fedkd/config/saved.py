"""Read what is in run directories: somebody's data; what is not as fedkd wrote it is named."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ConfigError, FedkdError
from .yamls import from_yaml


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


def saved_config(run_dir: str | Path) -> dict[str, Any]:
    """Return the configuration that a run directory was made with.

    Raises
    ------
    ConfigError
        If there is none.
    """
    path = Path(str(run_dir)).expanduser() / "config.yaml"  # as an override, it may be no text
    with readable("resume", run_dir, "is no run directory"):
        config = from_yaml(path.read_text())
        json.dumps(config, default=str)  # an alias may lead back into itself
    if not isinstance(config, dict):
        raise ConfigError("resume", run_dir, f"is no run directory: {path.name} is no mapping")
    config.setdefault("task", {"name": "classification"})  # of a version that had no other
    return config
