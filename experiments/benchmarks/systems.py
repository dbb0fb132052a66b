"""What is measured: the systems, and which works each can do."""

from dataclasses import dataclass
from typing import Any

PARAMETRIC = ("W1", "W2")
"""Works of frameworks that average parameters and know no knowledge."""

ROUNDS = (*PARAMETRIC, "W3", "W0", "W0x5")
"""Works of which rounds are measured."""

WHOLE = ("W4", "W5")
"""Works that are whole runs."""


@dataclass(frozen=True)
class System:
    """What is measured.

    Parameters
    ----------
    title : str
        What it is called in the table.
    module : str
        The module here whose ``run(job)`` runs it.
    venv : str, optional
        Its own virtual environment below `PEERS`; None = fedkd's.
    distributed : bool
        Whether ``torchrun`` starts a process per core.
    works : tuple of str or None
        The works that it can express; None = all.
    """

    title: str
    module: str
    venv: str | None = None
    distributed: bool = False
    works: tuple[str, ...] | None = None

    def can(self, work: str) -> bool:
        """Tell whether it can express a work.

        Examples
        --------
        >>> [name for name, system in SYSTEMS.items() if system.can("W6")]
        ['ray', 'alone', 'flower', 'inline']
        """
        return self.works is None or work in self.works


LOOP = "loop"
"""The system that the others are compared with."""

LOOP_ALL = "loop_all"
"""The loop of whole runs that takes the whole test split in every round."""

BARE = "bare"
"""The system whose start-up and memory are the others' yardstick."""

FUSION = "fusion"
"""The system that only fuses, with a key of `METHODS` as its work; see ``fusion.py``."""

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "mean": ("fedmd", {"exchange": "soft_labels"}),
    "coordinate_median": ("coordinate_median", {}),
    "geometric_median": ("geometric_median", {}),
    "knfu": ("knfu", {}),
    "ktpfl": ("ktpfl", {}),
    "comet": ("comet", {}),
}
"""Fusion methods that are measured: strategy and parameters."""

PEERS = "build/peers"
"""Where ``make bench-peers`` puts the peers' virtual environments."""

SYSTEMS = {
    LOOP: System("plain torch loop", "floor", works=ROUNDS + WHOLE),
    LOOP_ALL: System("plain torch loop, all test samples", "floor", works=WHOLE),
    BARE: System("bare Ray actors", "bare", works=ROUNDS),
    "ray": System("fedkd ray", "ours"),
    "alone": System("fedkd ray, clients one by one", "ours"),
    "flower": System("Flower's engine", "ours"),
    "inline": System("fedkd inline", "ours"),
    "pfl": System("pfl-research", "peer_pfl", "pfl", distributed=True, works=PARAMETRIC),
    "pfl1": System("pfl-research, 1 process", "peer_pfl", "pfl", works=PARAMETRIC),
    "fluke": System("fluke", "peer_fluke", "fluke", works=PARAMETRIC),
}
"""Every system by name; Flower's engine is fedkd's ``engine=flower``."""

ENGINES = {"alone": {"engine.name": "ray", "engine.stack": "off"}}
"""Settings of systems whose name is not their engine's."""


MODULES = {name: system.module for name, system in SYSTEMS.items()} | {FUSION: "fuser"}
"""What a child process can run."""
