"""The files of a checkpoint that hold what clients remember."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flwr.app import RecordDict
from safetensors import safe_open
from safetensors.torch import load_file

from ..errors import RunError
from .manifest import Damage
from .packing import names, unpack


@contextmanager
def reading() -> Iterator[None]:
    """Turn whatever a file that is not as it was written makes go wrong into `Damage`."""
    try:
        yield
    except Damage:
        raise
    except Exception as error:  # each library raises its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Damage(f"it cannot be read: {reason}") from error


def is_shard(name: str) -> bool:
    """Say whether a file holds arrays of clients."""
    return name.startswith("clients_") and name.endswith(".safetensors")


def present(file: Path) -> list[int]:
    """Return the clients of a shard, all of whose arrays are there; no array is read."""
    plain = json.loads(file.with_suffix(".json").read_text())
    with safe_open(file, "pt") as tensors:
        there = set(tensors.keys())
    if there != set(names(plain)):
        raise Damage(f"{file.name} does not have the arrays of its clients")
    return [int(client) for client in plain]


@dataclass(frozen=True)
class Shards:
    """What clients remember, on disk: read shard by shard, as often as it is gone through."""

    folder: Path
    names: tuple[str, ...]

    def __iter__(self) -> Iterator[dict[int, RecordDict]]:
        """Yield one shard's clients after the other's; `RunError` if one is gone."""
        for file in (self.folder / name for name in self.names):
            try:
                with reading():
                    plain = json.loads(file.with_suffix(".json").read_text())
                    some = unpack(load_file(file), plain)
            except Damage as damage:
                problem = f"checkpoint {self.folder} changed while it was read: {damage}"
                remedy = "resume again to go on from the one before it"
                raise RunError(f"{problem}; {remedy}") from damage
            yield some
