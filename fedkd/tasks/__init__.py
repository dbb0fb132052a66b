"""What a run's samples mean, one file a task: its loss, its predictions, its metrics."""

from typing import Any

from .score import ALMA, Score

__all__ = ["ALMA", "Score", "Task", "Tested"]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first used (PEP 562)."""
    if name in ("Task", "Tested"):
        from . import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
