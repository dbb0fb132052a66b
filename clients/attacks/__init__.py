"""Hostile clients: one attack a file, each a Flower mod around the training phases.

An attack sees only what its client can see: the client's own honest reply, and the teacher that it
last received. Attacks in the literature often see all honest replies; the files say what differs.
"""

from .base import Attack, View

__all__ = ["Attack", "View"]
