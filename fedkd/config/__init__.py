"""The configuration: its keys and their types, overrides, files."""

from .execution import EngineConfig, FaultsConfig, SecureConfig
from .samples import DataConfig, TransferConfig
from .settings import RunConfig, flatten
from .system import SystemConfig
from .training import DistilConfig, EvaluateConfig, FitConfig

__all__ = [
    "DataConfig",
    "DistilConfig",
    "EngineConfig",
    "EvaluateConfig",
    "FaultsConfig",
    "FitConfig",
    "RunConfig",
    "SecureConfig",
    "SystemConfig",
    "TransferConfig",
    "flatten",
]
