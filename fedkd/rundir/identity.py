"""Which run something belongs to: a hash of all that decides the outcome."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..config import RunConfig, flatten

FREE = ("rounds", "log", "run_dir", "resume", "force", "trust", "engine", "checkpoint")
"""Keys that may differ from the run's without `force`: they do not change what comes out."""


BEFORE: dict[str, Any] = {
    "evaluate.samples": None,
    "clients": 100,
    "model": "mlp",
    "task": {"name": "classification"},
}
"""Defaults that have changed, as they were: what was at its default then is so still. There was one
task before there were several."""


def identity(config: Mapping[str, Any], split: Path | None = None) -> str:
    """Return the sha256, as hex, of the values that decide a run's outcome.

    Parameters
    ----------
    config : mapping
        A run's configuration, nested, as in ``config.yaml``.
    split : Path, optional
        The run's ``split.npz``: who holds which samples.

    Examples
    --------
    >>> one = RunConfig(seed=1).to_dict()
    >>> identity(one) == identity(RunConfig(seed=1, rounds=99, run_dir="elsewhere").to_dict())
    True
    >>> identity(one) == identity(RunConfig(seed=2).to_dict())
    False
    """
    # What is at its default is left out: a key that is newer than the run was at its default.
    chosen = {key: value for key, value, default in decisive(config) if value != default}
    whole = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode())
    if split is not None and split.is_file():
        whole.update(split.read_bytes())
    return whole.hexdigest()


def decisive(config: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield key, value and default of all that decides a run's outcome."""
    for key, default in (flatten(RunConfig()) | BEFORE).items():
        if key.partition(".")[0] not in FREE:
            yield key, _lookup(config, key, default), default


def _lookup(nested: Mapping[str, Any], key: str, default: Any) -> Any:
    value: Any = nested
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return default
        value = value[name]
    return value
