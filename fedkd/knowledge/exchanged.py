"""What the server sent in a round, for whoever records it."""

from dataclasses import dataclass, field

from flwr.app import ArrayRecord
from torch import Tensor


@dataclass
class Exchanged:
    """What the server sent in a round, for whoever records it; clients may share a record."""

    starts: dict[int, ArrayRecord] = field(default_factory=dict)
    """what a client was sent before its fit: ``values`` and perhaps ``mask``, of methods that share
    parameters or knowledge of classes"""
    lessons: dict[int, ArrayRecord] = field(default_factory=dict)
    """a client's teacher: ``values`` and, where it does not cover every row, ``mask``"""
    sample_ids: Tensor | None = None
    """``[samples]``, the transfer samples that the teachers are for"""
