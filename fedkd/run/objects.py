"""Python objects that a user may give in place of names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..clients.guarding import Guards
from ..rounds.protocol import Strategy


@dataclass(frozen=True)
class Objects:
    """Python objects given in place of names in the configuration."""

    strategy: Strategy | None = None
    data: Any = None
    model: Any = None
    transfer: Any = None
    held: Mapping[str, Any] = field(default_factory=dict)
    """who holds what, by the keys of `fedkd.data.HELD`"""
    guard: Guards | None = None
