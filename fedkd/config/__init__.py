"""The configuration: its keys and their types, overrides, files."""

from .settings import (
    DataConfig,
    EngineConfig,
    FaultsConfig,
    FitConfig,
    RunConfig,
    SecureConfig,
    TransferConfig,
    flatten,
)
from .system import SystemConfig

__all__ = [
    "DataConfig",
    "EngineConfig",
    "FaultsConfig",
    "FitConfig",
    "RunConfig",
    "SecureConfig",
    "SystemConfig",
    "TransferConfig",
    "flatten",
]
