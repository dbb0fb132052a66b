"""Privacy attacks on recorded runs: what a curious server or client learns of a client's data.

One attack a file. They need models, training loops and run directories, so this room belongs to the
composition root: it may import every room, and only the command line imports it. Hostile clients
that spoil the fusion are elsewhere: `fedkd.clients.attacks`.
"""

from .base import Finding, PrivacyAttack
from .running import attack

__all__ = ["Finding", "PrivacyAttack", "attack"]
