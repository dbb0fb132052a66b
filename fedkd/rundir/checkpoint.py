"""Checkpoints: everything a run needs to go on as if it had never stopped.

``RUN_DIR/checkpoint/round_00010/`` holds what every client remembers (in shards: nobody ever holds
all of it), the server's state and the tables so far. It is written beside, synced to disk and
renamed, so it is there whole or not at all; a manifest tells one that was damaged later, or is
another run's, and the one before it is kept. Nothing is pickled. No random state is in it: every
stream starts from the seed, the client, the round and the phase.
"""

import json
import logging
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import RecordDict
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..atomic import sync
from ..callbacks.base import Row
from ..callbacks.tables import Tables
from ..errors import ConfigError
from .manifest import Damage, Manifest, folder_name, sha256
from .packing import pack
from .shards import Shards, is_shard, present, reading

log = logging.getLogger("fedkd")

KEPT = 2
"""Checkpoints that are kept."""


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
    row : Row or None
        Of a last round that was measured otherwise than where more follow: its row if more do.
    folder : Path or None
        Where the tables so far are.
    files : collection of str
        The names of all files there.
    """

    round: int
    clients: Iterable[dict[int, RecordDict]]
    server: dict[str, Tensor]
    measured: dict[str, Any]
    spent: dict[str, Any] = field(default_factory=dict)
    row: Row | None = None
    folder: Path | None = None
    files: Collection[str] = ()


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
    run : str
        The run's identity (`fedkd.rundir.identity`).
    """

    run_dir: Path
    every: int
    rounds: int
    tables: Tables
    run: str

    def due(self, number: int) -> bool:
        """Say whether round `number` ends with a checkpoint."""
        return number % self.every == 0 or number == self.rounds

    def stage(self, number: int, clients: Iterable[dict[int, RecordDict]]) -> int:
        """Write what clients remember now of a checkpoint to come; return how many they are."""
        self.tables.check()
        return stage(_staged(self.run_dir, number), clients)

    def keep(self, checkpoint: Checkpoint, staged: int | None = None) -> None:
        """Write the checkpoint; `staged` is what `stage` returned of its clients, if it did."""
        self.tables.check()
        save(self.run_dir, checkpoint, self.tables, self.run, staged)


def _staged(run_dir: Path, number: int) -> Path:
    """Return the folder that a checkpoint is written into."""
    return run_dir / "checkpoint" / f".{folder_name(number)}"


def stage(folder: Path, clients: Iterable[dict[int, RecordDict]]) -> int:
    """Write what clients remember into a fresh folder; return how many they are."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir()
    count = 0
    for number, some in enumerate(clients):
        count += len(some)
        tensors, plain = pack(some)
        save_file(tensors, folder / f"clients_{number:05d}.safetensors")
        (folder / f"clients_{number:05d}.json").write_text(json.dumps(plain))
    return count


def save(
    run_dir: Path,
    checkpoint: Checkpoint,
    tables: Tables,
    run: str = "",
    clients: int | None = None,
) -> None:
    """Write a checkpoint of the run of an identity, and remove those before the last two.

    So many of its clients have been staged; None = they are still to be.
    """
    staged = _staged(run_dir, checkpoint.round)
    parent, final = staged.parent, staged.parent / folder_name(checkpoint.round)
    if clients is None:
        clients = stage(staged, checkpoint.clients)
    save_file({k: v.clone() for k, v in checkpoint.server.items()}, staged / "server.safetensors")
    state = {
        "measured": checkpoint.measured,
        "spent": checkpoint.spent,
        "row": None if checkpoint.row is None else vars(checkpoint.row),
        "server": list(checkpoint.server),  # safetensors does not keep the order
    }
    (staged / "state.json").write_text(json.dumps(state))
    tables.write_to(staged)
    sums = {file.name: sha256(file) for file in sorted(staged.iterdir())}
    Manifest(run, checkpoint.round, clients, sums).write(staged)
    for path in (*staged.iterdir(), staged):
        sync(path)
    shutil.rmtree(final, ignore_errors=True)
    staged.rename(final)
    sync(parent)
    folders = _folders(run_dir)
    for old in folders[folders.index(final) + KEPT :]:
        shutil.rmtree(old, ignore_errors=True)


def newest(run_dir: Path, run: str | None = None, clients: int | None = None) -> Checkpoint | None:
    """Return the newest checkpoint that is intact, or None if the run has none yet.

    Parameters
    ----------
    run_dir : Path
        The run directory.
    run, clients : optional
        Identity (`fedkd.rundir.identity`) and number of clients of the run; None = whichever.

    Raises
    ------
    ConfigError
        If there are checkpoints and none can be used.
    """
    unfit = []
    for folder in _folders(run_dir):
        try:
            return _load(folder, run, clients)
        except Damage as damage:
            log.warning("checkpoint %s is skipped: %s", folder, damage)
            unfit.append(f"{folder.name}: {damage}")
    if unfit:
        raise ConfigError("resume", run_dir, f"no checkpoint can be used ({'; '.join(unfit)})")
    return None


def _folders(run_dir: Path) -> list[Path]:
    """Return the folders of all checkpoints, that of the last round first."""
    found = (run_dir / "checkpoint").glob("round_*")
    return sorted(found, key=lambda folder: (len(folder.name), folder.name), reverse=True)


def _load(folder: Path, run: str | None, clients: int | None) -> Checkpoint:
    """Return a checkpoint that has been gone through from end to end, or raise `Damage`."""
    manifest = Manifest.read(folder)
    manifest.check(folder, run, clients)
    shards = Shards(folder, tuple(sorted(filter(is_shard, manifest.files))))
    with reading():
        found = [client for name in shards.names for client in present(folder / name)]
        state = json.loads((folder / "state.json").read_text())
        server = load_file(folder / "server.safetensors")
        ordered = {name: server[name] for name in state["server"]}
        if sorted(found) != list(range(manifest.clients)):
            raise Damage(f"it has {len(found)} of {manifest.clients} clients")
        if len(ordered) != len(server):
            raise Damage(f"it has {len(ordered)} of {len(server)} server arrays")
        row = None if state["row"] is None else Row(**state["row"])
        of_run = state["measured"], state["spent"], row
    return Checkpoint(manifest.round, shards, ordered, *of_run, folder, manifest.files.keys())
