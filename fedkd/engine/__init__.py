"""Engines: what executes the clients. All three give bit-identical results on a CPU."""

from contextlib import nullcontext
from importlib import import_module

from .base import AppFactory, BlockPool, Engine
from .cluster import ray_ahead, shared_ray
from .cohort import CohortGrid
from .fleet import Fleet
from .replies import Reply
from .signals import held_signals
from .warm import shutdown

_ENGINES = {
    "inline": (".inline", "InlineEngine"),
    "ray": (".actors", "RayEngine"),
    "flower": (".simulation", "FlowerEngine"),
}


def engine_class(name: str) -> type[Engine]:
    """Return an engine by name; its module (and Ray with it) is imported only now."""
    module, attribute = _ENGINES[name]
    with nullcontext() if name == "inline" else held_signals():
        chosen: type[Engine] = getattr(import_module(module, __package__), attribute)
    return chosen


__all__ = [
    "AppFactory",
    "BlockPool",
    "CohortGrid",
    "Engine",
    "Fleet",
    "Reply",
    "engine_class",
    "ray_ahead",
    "shared_ray",
    "shutdown",
]
