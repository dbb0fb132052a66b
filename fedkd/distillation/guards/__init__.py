"""Guards: what of a teacher a client learns from, one file each; ``guard=kl_dp`` names the file."""

from .base import Guard

__all__ = ["Guard"]
