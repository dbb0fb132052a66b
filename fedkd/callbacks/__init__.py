"""Observers of a run: progress, tables, recordings."""

from .base import Callback, RoundRecord, RunInfo
from .cell import CellProgress
from .progress import Progress
from .recorder import KnowledgeRecorder
from .tables import Tables
from .tensorboard import TensorBoard

__all__ = [
    "Callback",
    "CellProgress",
    "KnowledgeRecorder",
    "Progress",
    "RoundRecord",
    "RunInfo",
    "Tables",
    "TensorBoard",
]
