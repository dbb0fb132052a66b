"""Codecs: how numbers are made smaller before they travel, one file each. Maths only."""

from .base import Codec, Undecodable

__all__ = ["Codec", "Undecodable"]
