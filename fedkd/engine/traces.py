"""What a run may leave in a process beside its objects: whoever is to be used again has nothing."""

import gc
import os
import sys
import sysconfig
import threading
import warnings
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from ray.cloudpickle import cloudpickle

from ..rng import Globals

OURS = __name__.partition(".")[0]
LIBRARIES = {"site-packages", "dist-packages"}
SENT: Mapping[str, type] = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID
"""Classes that were sent here, as those of a plug-in's file are, and are still used by something
(not documented; checked on ray 2.55.1)."""
STANDARD = Path(sysconfig.get_path("stdlib"))
PATCHABLE = (OURS, "torch", "numpy", "flwr")
"""Packages whose functions, if somebody replaces them, have other runs compute something else."""
IMPORTED = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}
"""Variables that scikit-learn sets as it is imported, for libraries that heed them as they are."""
WRAPPED = (property, staticmethod, classmethod)
HOOKS: list[Mapping[int, Any]] = [
    hooks
    for name, hooks in vars(torch.nn.modules.module).items()
    if name.startswith("_global_") and isinstance(hooks, dict)
]
"""Those of all models."""


def _settings() -> dict[str, Any]:
    """Return what can make the same code compute something else."""
    cudnn = torch.backends.cudnn
    return {
        "torch.get_num_threads": torch.get_num_threads(),
        "torch.get_default_dtype": torch.get_default_dtype(),
        "torch.get_default_device": torch.get_default_device(),
        "torch.is_grad_enabled": torch.is_grad_enabled(),
        "torch.is_anomaly_enabled": torch.is_anomaly_enabled(),
        "torch.get_float32_matmul_precision": torch.get_float32_matmul_precision(),
        "torch.backends.cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
        "torch.backends.cudnn.allow_tf32": cudnn.allow_tf32,
        "torch.backends.mkldnn": torch.backends.mkldnn.enabled,
        "torch.is_autocast_enabled": torch.is_autocast_enabled("cpu"),
        "torch.nn.modules.module hooks": [len(hooks) for hooks in HOOKS],
        "numpy.geterr": np.geterr(),
        "os.getcwd": os.getcwd(),
        "sys.path": list(sys.path),
        **{f"os.environ[{k}]": value for k, value in os.environ.items() if k not in IMPORTED},
    }


def _own_modules(packages: Container[str] = (OURS,)) -> Iterator[tuple[str, ModuleType]]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            yield name, module


def _functions() -> dict[str, Any]:
    """Return what can be called in `PATCHABLE`, and in the classes there, by its name."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a deprecated name warns when it is looked at
        for name, module in _own_modules(PATCHABLE):
            for key, value in list(vars(module).items()):
                if callable(value):
                    found[f"{name}.{key}"] = value
                if isinstance(value, type) and value.__module__ == name:
                    found |= {f"{name}.{key}.{k}": one for k, one in _methods(value)}
    return found


def _methods(cls: type) -> Iterator[tuple[str, Any]]:
    for name, value in list(vars(cls).items()):
        if callable(value) or isinstance(value, WRAPPED):
            yield name, value


@dataclass
class Traces:
    """A process as it was once.

    Examples
    --------
    >>> before = Traces()
    >>> torch.set_float32_matmul_precision("medium")
    >>> before.left()
    'torch.get_float32_matmul_precision'
    >>> torch.set_float32_matmul_precision("highest")
    """

    settings: dict[str, Any] = field(default_factory=_settings)
    modules: set[str] = field(default_factory=lambda: set(sys.modules))
    threads: set[threading.Thread] = field(default_factory=lambda: set(threading.enumerate()))
    sent: set[str] = field(default_factory=lambda: set(SENT))
    functions: dict[str, Any] = field(default_factory=_functions)
    generators: Globals = field(default_factory=Globals.now)

    def left(self) -> str:
        """Make the process what it was, as far as fedkd can; return what is still different."""
        _clear_caches()
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        self.generators.put_back()
        now = _settings()
        more = set(sys.modules) - self.modules
        names = sorted(now.keys() | self.settings.keys())
        found = [name for name in names if now.get(name) != self.settings.get(name)]
        found += [one.name for one in set(threading.enumerate()) - self.threads]
        found += [name for name in more if _is_users(sys.modules[name])]
        functions = _functions()
        found += [k for k, one in functions.items() if self._is_another(k, one)]
        found += [one.__qualname__ for key, one in SENT.items() if key not in self.sent]
        return ", ".join(found)

    def _is_another(self, name: str, one: Any) -> bool:
        """Tell whether this is not what it was; of what was not there, whether it is a user's."""
        if name in self.functions:
            return self.functions[name] is not one
        if not isinstance(one, FunctionType) or name.partition(".")[0] != OURS:
            return False
        module = sys.modules.get(one.__module__)
        return module is None or _is_users(module)


def _clear_caches() -> None:
    """Empty every cache of a function of fedkd's."""
    for _, module in _own_modules():
        for value in list(vars(module).values()):
            if callable(clear := getattr(value, "cache_clear", None)):
                clear()


def _is_users(module: ModuleType) -> bool:
    """Tell whether a module is neither fedkd's nor a library's: the user may change it."""
    if module.__name__.partition(".")[0] == OURS or not getattr(module, "__file__", None):
        return False
    path = Path(str(module.__file__))
    return LIBRARIES.isdisjoint(path.parts) and not path.is_relative_to(STANDARD)


def changed_since(seconds: float) -> bool:
    """Tell whether a file of fedkd's that is imported here was written after that time."""
    files = (getattr(module, "__file__", None) for _, module in _own_modules())
    return any(Path(file).stat().st_mtime > seconds for file in files if file)
