"""Observers of a run: progress, tables, recordings."""

from .base import Callback, RoundRecord, RunInfo

__all__ = ["Callback", "RoundRecord", "RunInfo"]
