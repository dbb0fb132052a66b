"""Label flip: hostile clients train on wrong labels, and send honestly what they learned.

Tolpegin, Truex, Gursoy, Liu, "Data Poisoning Attacks Against Federated Learning Systems", ESORICS
2020 (there single pairs of classes; flipping all of them, as here, is the usual untargeted form).

Formula, with C classes::

    y -> C - 1 - y          in every fit phase; the middle one of an odd number of classes stays
"""

from typing import Any

from .base import Attack


class LabelFlip(Attack):
    """Trains on flipped labels; works whatever is exchanged."""

    kinds = None
    needs_classes = True

    def options(self) -> dict[str, Any]:
        """Ask for flipped private labels."""
        return {"flip-labels": True}
