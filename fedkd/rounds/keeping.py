"""What clients remember, some of them at a time: to be kept, given back, or made final models."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flwr.app import ConfigRecord, RecordDict
from torch import Tensor

from ..callbacks.base import Row
from ..engine import Fleet
from ..engine.state import tensors_of
from ..errors import RunError
from ..rundir.checkpoint import Checkpoint
from ..rundir.digest import Models

AT_ONCE = 256
"""Clients whose whole state the server holds at a time."""

Batches = Iterable[dict[int, RecordDict]]
"""What clients remember, some at a time, in order."""


@dataclass
class Kept:
    """What a checkpoint has of a round beside that, as it is where more rounds follow."""

    measured: dict[str, Any]
    row: Row | None = None
    server: dict[str, Tensor] | None = None
    """None = as the strategy saves it"""
    staged: int | None = None
    """clients whose memories are written already"""


def snapshots(fleet: Fleet, number: int) -> Batches:
    """Yield all that every client remembers after a round."""
    empty = RecordDict({"config": ConfigRecord()})
    for first in range(0, fleet.clients, AT_ONCE):
        asked = dict.fromkeys(range(first, min(first + AT_ONCE, fleet.clients)), empty)
        replies = {r.client: r.ok for r in fleet.call("query.snapshot", asked, number)}
        for content in replies.values():
            del content["metrics"]  # the time it took
        yield replies


def restore(fleet: Fleet, checkpoint: Checkpoint) -> None:
    """Make every client remember what a checkpoint has.

    Raises
    ------
    RunError
        If a client cannot, or the checkpoint does not have it.
    """
    restored = set()
    for some in checkpoint.clients:
        for reply in fleet.call("query.restore", some, checkpoint.round):
            _ = reply.ok  # raises where the client could not
            restored.add(reply.client)
    if len(restored) < fleet.clients:
        had = f"{len(restored)} of {fleet.clients} clients"
        raise RunError(f"the checkpoint of round {checkpoint.round} restored {had}")


def final(clients: Batches, models: Models) -> Batches:
    """Pass snapshots on, and write their models."""
    for some in clients:
        for _, content in sorted(some.items()):
            models.add(tensors_of(content.array_records["arrays"]))
        yield some
