"""Observers of a run: progress, tables, recordings."""

from .base import Callback, RoundRecord, RunInfo
from .progress import Progress
from .recorder import KnowledgeRecorder
from .tables import Tables
from .tensorboard import TensorBoard

__all__ = [
    "Callback",
    "KnowledgeRecorder",
    "Progress",
    "RoundRecord",
    "RunInfo",
    "Tables",
    "TensorBoard",
]
