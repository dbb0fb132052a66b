"""What clients exchange with the server, one file each: the client's half of a method."""

from .base import Exchange
from .soft_labels import SoftLabels

__all__ = ["Exchange", "SoftLabels"]
