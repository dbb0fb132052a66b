"""Going on with a run: its own configuration, its newest intact checkpoint, the same data."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .checkpoint import Checkpoint, newest
from .config import RunConfig, flatten
from .errors import ConfigError
from .savedconfig import saved_config

FREE = ("rounds", "run_dir", "resume", "force", "engine", "checkpoint")
"""Keys that may differ from the run's without `force`: they do not change what comes out."""


def find_checkpoint(config: RunConfig) -> Checkpoint | None:
    """Return where a resumed run goes on; None if it was stopped before its first checkpoint.

    Raises
    ------
    ConfigError
        If the run was made with another configuration (unless forced), has already gone further
        than ``rounds``, or has only damaged checkpoints.
    """
    run_dir = Path(str(config.resume)).expanduser()
    if not config.force:
        _check_same(config, saved_config(run_dir))
    checkpoint = newest(run_dir)
    if checkpoint is not None and checkpoint.round > config.rounds:
        problem = f"the run has already done {checkpoint.round}; give at least as many"
        raise ConfigError("rounds", config.rounds, problem)
    return checkpoint


def _check_same(config: RunConfig, saved: dict[str, Any]) -> None:
    defaults = flatten(RunConfig())  # a key that is newer than the run had its default
    differing = []
    for key, value in flatten(config).items():
        old = _lookup(saved, key, defaults[key])
        if key.partition(".")[0] not in FREE and old != value:
            differing.append(f"{key} was {_show(old)}, is {_show(value)}")
    if differing:
        problem = f"the configuration differs: {'; '.join(differing)}; force=true goes on anyway"
        raise ConfigError("resume", config.resume, problem)


def _lookup(nested: dict[str, Any], key: str, default: Any) -> Any:
    value: Any = nested
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            return default
        value = value[name]
    return value


@contextmanager
def same_split(run_dir: Path, config: RunConfig) -> Iterator[None]:
    """Refuse to go on if who holds which samples comes out differently inside the block."""
    path = run_dir / "split.npz"
    before = path.read_bytes() if config.resume and path.is_file() else None
    yield
    if before is not None and not config.force and path.read_bytes() != before:
        path.write_bytes(before)
        problem = "the data changed since the run began; force=true goes on anyway"
        raise ConfigError("resume", config.resume, problem)


def _show(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
