"""Read the configuration that a run directory was made with."""

from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError


def saved_config(run_dir: str | Path) -> dict[str, Any]:
    """Return the configuration that a run directory was made with.

    Raises
    ------
    ConfigError
        If there is none.
    """
    path = Path(run_dir).expanduser() / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError("resume", run_dir, f"is no run directory ({reason})") from error
    if not isinstance(config, dict):
        raise ConfigError("resume", run_dir, f"is no run directory: {path.name} is no mapping")
    return config
