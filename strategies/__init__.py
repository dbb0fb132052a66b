"""Server strategies: one file per method, readable alone."""

from ..rounds.protocol import Outcome, RoundPlan, Strategy
from .base import FusionStrategy

__all__ = ["FusionStrategy", "Outcome", "RoundPlan", "Strategy"]
