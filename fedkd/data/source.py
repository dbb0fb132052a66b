"""A data set that was found but not decoded yet."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .decode import Raw


@dataclass(frozen=True)
class Source:
    """A data set that was found but not decoded yet.

    `load` takes a scratch directory and returns the splits: ``train`` always, ``test`` maybe.
    """

    name: str
    fingerprint: str
    load: Callable[[Path], dict[str, Raw]]
    defaults: dict[str, int] = field(default_factory=dict)
    named: bool = True
    """whether it has columns with names, among which there is a choice"""
