"""Checkpoints: everything a run needs to go on as if it had never stopped.

``RUN_DIR/checkpoint/round_00010/`` holds what every client remembers (in shards: nobody ever holds
all of it), the server's state and the tables so far. It is written beside, synced to disk and
renamed, so it is there whole or not at all; checksums tell one that was damaged later, and the one
before it is kept. Nothing is pickled. No random state is in it: every stream starts from the seed,
the client, the round and the phase.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from safetensors.torch import load_file, save_file
from torch import Tensor

from .callbacks.tables import Tables
from .errors import ConfigError
from .knowledge import to_tensor

log = logging.getLogger("fedkd")

KEPT = 2
"""Checkpoints that are kept."""

SUMS = "SHA256SUMS"
_PLAIN: dict[str, type] = {"metric": MetricRecord, "config": ConfigRecord}


@dataclass(frozen=True)
class Checkpoint:
    """A run after some round.

    Attributes
    ----------
    round : int
        The last finished round.
    clients : iterable of dict
        What each client remembers, as ``query.snapshot`` answered: some clients at a time, in
        order. Those of a checkpoint on disk are read as they are asked for.
    server : dict
        The strategy's tensors (`Strategy.save`).
    measured : dict
        The clients' last accuracies, and whose are out of date.
    spent : dict
        What clients have spent of their privacy (`fedkd.privacy.ledger.Ledger.save`).
    folder : Path or None
        Where the tables so far are.
    """

    round: int
    clients: Iterable[dict[int, RecordDict]]
    server: dict[str, Tensor]
    measured: dict[str, Any]
    spent: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True)
class Keeper:
    """Writes a run's checkpoints when they are due.

    Attributes
    ----------
    run_dir : Path
        The run directory.
    every : int
        Rounds between checkpoints; the last round always has one.
    rounds : int
        Rounds of the run.
    tables : Tables
        The run's tables.
    """

    run_dir: Path
    every: int
    rounds: int
    tables: Tables

    def due(self, number: int) -> bool:
        """Say whether round `number` ends with a checkpoint."""
        return number % self.every == 0 or number == self.rounds

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint."""
        self.tables.check()
        save(self.run_dir, checkpoint, self.tables)


def save(run_dir: Path, checkpoint: Checkpoint, tables: Tables) -> None:
    """Write a checkpoint, and remove those before the last two."""
    parent = run_dir / "checkpoint"
    final = parent / f"round_{checkpoint.round:05d}"
    staged = parent / f".{final.name}"
    shutil.rmtree(staged, ignore_errors=True)
    parent.mkdir(exist_ok=True)
    staged.mkdir()
    for number, some in enumerate(checkpoint.clients):
        tensors, plain = _pack(some)
        save_file(tensors, staged / f"clients_{number:05d}.safetensors")
        (staged / f"clients_{number:05d}.json").write_text(json.dumps(plain))
    save_file({k: v.clone() for k, v in checkpoint.server.items()}, staged / "server.safetensors")
    state = {
        "round": checkpoint.round,
        "measured": checkpoint.measured,
        "spent": checkpoint.spent,
        "server": list(checkpoint.server),  # safetensors does not keep the order
    }
    (staged / "state.json").write_text(json.dumps(state))
    tables.write_to(staged)
    sums = [f"{_sha256(file)}  {file.name}" for file in sorted(staged.iterdir())]
    (staged / SUMS).write_text("\n".join(sums) + "\n")
    for path in (*staged.iterdir(), staged):
        _sync(path)
    shutil.rmtree(final, ignore_errors=True)
    staged.rename(final)
    _sync(parent)
    for old in _folders(run_dir)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def newest(run_dir: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is intact, or None if the run has none yet.

    Raises
    ------
    ConfigError
        If there are checkpoints and every one is damaged.
    """
    damaged = []
    for folder in _folders(run_dir):
        if (problem := _damage(folder)) is None:
            return _load(folder)
        log.warning("checkpoint %s is damaged (%s), trying the one before it", folder, problem)
        damaged.append(f"{folder.name}: {problem}")
    if damaged:
        raise ConfigError("resume", run_dir, f"every checkpoint is damaged ({'; '.join(damaged)})")
    return None


def _folders(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "checkpoint").glob("round_*"), reverse=True)


def _damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return f"{SUMS} cannot be read"
    for line in lines:
        wanted, _, name = line.partition("  ")
        file = folder / Path(name).name
        if not file.is_file():
            return f"{file.name} is missing"
        if _sha256(file) != wanted:
            return f"{file.name} does not match its checksum"
    return None if lines else f"{SUMS} is empty"


def _load(folder: Path) -> Checkpoint:
    state = json.loads((folder / "state.json").read_text())
    server = load_file(folder / "server.safetensors")
    ordered = {name: server[name] for name in state["server"]}
    spent = state.get("spent", {})  # older ones have none
    return Checkpoint(state["round"], Shards(folder), ordered, state["measured"], spent, folder)


@dataclass(frozen=True)
class Shards:
    """What clients remember, on disk: read shard by shard, as often as it is gone through."""

    folder: Path

    def __iter__(self) -> Iterator[dict[int, RecordDict]]:
        """Yield one shard's clients after the other's."""
        for file in sorted(self.folder.glob("clients_*.safetensors")):
            yield _unpack(load_file(file), json.loads(file.with_suffix(".json").read_text()))


def _pack(clients: Mapping[int, RecordDict]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return all arrays under ``client|record|name``, and the rest in JSON's types."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for client, records in clients.items():
        kept = plain[str(client)] = {}
        for name, record in records.items():
            if isinstance(record, ArrayRecord):
                kept[name] = {"kind": "array", "names": list(record)}
                tensors |= {f"{client}|{name}|{k}": to_tensor(v) for k, v in record.items()}
            else:
                kind = "metric" if isinstance(record, MetricRecord) else "config"
                kept[name] = {"kind": kind, "values": dict(record)}
    return tensors, plain


def _unpack(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> dict[int, RecordDict]:
    clients = {}
    for client, kept in plain.items():
        records: dict[str, Any] = {}
        for name, record in kept.items():
            if record["kind"] == "array":
                values = {k: tensors[f"{client}|{name}|{k}"] for k in record["names"]}
                records[name] = ArrayRecord(values)
            else:
                records[name] = _PLAIN[record["kind"]](record["values"])
        clients[int(client)] = RecordDict(records)
    return clients


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
