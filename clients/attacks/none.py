"""No attack: all clients are honest."""

from typing import Any

from .base import Attack


class NONE(Attack):
    """Nobody is hostile, whatever the fraction: a sweep over attacks may include it."""

    kinds = None

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.hostile = frozenset()
