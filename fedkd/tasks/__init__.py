"""What a run's samples mean, one file a task: its loss, its predictions, its metrics."""

from .base import Task, Tested

__all__ = ["Task", "Tested"]
