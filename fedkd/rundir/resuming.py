"""Going on with a run: its own configuration, its newest intact checkpoint, the same data."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..config.saved import saved_config
from ..errors import ConfigError
from .checkpoint import Checkpoint, newest
from .identity import decisive, identity


def find_checkpoint(config: RunConfig) -> Checkpoint | None:
    """Return where a resumed run goes on; None if it was stopped before its first checkpoint.

    Raises
    ------
    ConfigError
        If the run was made with another configuration (unless forced), has already gone further
        than ``rounds``, or has checkpoints and none that can be used.
    """
    run_dir = Path(str(config.resume)).expanduser()
    saved = saved_config(run_dir)
    if not config.force:
        _check_same(config, saved)
    run = None if config.force else identity(saved, run_dir / "split.npz")
    checkpoint = newest(run_dir, run, None if config.clients == "auto" else config.population)
    if checkpoint is not None and checkpoint.round > config.rounds:
        problem = f"the run has already done {checkpoint.round}; give at least as many"
        raise ConfigError("rounds", config.rounds, problem)
    return checkpoint


def _check_same(config: RunConfig, saved: dict[str, Any]) -> None:
    differing = [
        f"{key} was {_show(old)}, is {_show(new)}"
        for (key, new, _), (_, old, _) in zip(
            decisive(config.to_dict()), decisive(saved), strict=True
        )
        if old != new
    ]
    if differing:
        problem = f"the configuration differs: {'; '.join(differing)}; force=true goes on anyway"
        raise ConfigError("resume", config.resume, problem)


@contextmanager
def same_split(run_dir: Path, config: RunConfig) -> Iterator[None]:
    """Refuse to go on if who holds which samples comes out differently inside the block."""
    path = run_dir / "split.npz"
    before = path.read_bytes() if config.resume and path.is_file() else None
    yield
    if before is not None and not config.force and path.read_bytes() != before:
        problem = "the data changed since the run began; force=true goes on anyway"
        raise ConfigError("resume", config.resume, problem)


def _show(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
