"""What clients remember, some of them at a time: to be kept, given back, or made final models."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flwr.app import ConfigRecord, RecordDict
from torch import Tensor

from ..callbacks.base import Row
from ..config import RunConfig
from ..engine import Fleet
from ..engine.state import tensors_of
from ..errors import ConfigError, RunError
from ..models import deal, model_names
from ..rundir.checkpoint import Checkpoint
from ..rundir.digest import Models
from .server import Server

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


def restore(fleet: Fleet, checkpoint: Checkpoint, server: Server, config: RunConfig) -> None:
    """Make every client remember what a checkpoint has.

    Raises
    ------
    ConfigError
        If its models are others than the run's.
    RunError
        If a client cannot, or the checkpoint does not have it.
    """
    restored = set()
    for some in checkpoint.clients:
        _check_models(some, checkpoint.round, server, config)
        for reply in fleet.call("query.restore", some, checkpoint.round):
            _ = reply.ok  # raises where the client could not
            restored.add(reply.client)
    if len(restored) < fleet.clients:
        had = f"{len(restored)} of {fleet.clients} clients"
        raise RunError(f"the checkpoint of round {checkpoint.round} restored {had}")


def _check_models(
    some: dict[int, RecordDict], number: int, server: Server, config: RunConfig
) -> None:
    """Refuse a checkpoint some of whose clients have other tensors than their models."""
    for client, content in some.items():
        own = {k: tuple(v.shape) for k, v in server.instances[client].state_dict().items()}
        had = {k: tuple(v.shape) for k, v in content.array_records["arrays"].items()}
        if own != had:
            name = next(k for k in {**had, **own} if own.get(k) != had.get(k))
            problem = f"client {client} has another {name} in the checkpoint of round {number}"
            value = model_names(deal(config.model, server.clients))[client]
            raise ConfigError(
                "model", value, f"{problem}; give the models that the run was made with"
            )


@contextmanager
def fitting(config: RunConfig, number: int) -> Iterator[None]:
    """Refuse a strategy that cannot go on from what the checkpoint of a round has."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        problem = f"cannot go on from the checkpoint of round {number} ({type(error).__name__}: "
        remedy = "give the method that the run was made with, and its parameters"
        raise ConfigError(
            "strategy", config.strategy["name"], f"{problem}{error}); {remedy}"
        ) from error


def final(clients: Batches, models: Models) -> Batches:
    """Pass snapshots on, and write their models."""
    for some in clients:
        for _, content in sorted(some.items()):
            models.add(tensors_of(content.array_records["arrays"]))
        yield some
