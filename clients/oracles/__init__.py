"""Who answers a client's questions for labels: one oracle of active learning a file."""

from .base import UNANSWERED, Oracle

__all__ = ["UNANSWERED", "Oracle"]
