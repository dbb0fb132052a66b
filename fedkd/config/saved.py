"""Read the configuration that a run directory was made with."""

import json
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigError
from .reading import readable


def saved_config(run_dir: str | Path) -> dict[str, Any]:
    """Return the configuration that a run directory was made with.

    Raises
    ------
    ConfigError
        If there is none.
    """
    path = Path(run_dir).expanduser() / "config.yaml"
    with readable("resume", run_dir, "is no run directory"):
        config = yaml.safe_load(path.read_text())
        json.dumps(config, default=str)  # an alias may lead back into itself
    if not isinstance(config, dict):
        raise ConfigError("resume", run_dir, f"is no run directory: {path.name} is no mapping")
    return config
