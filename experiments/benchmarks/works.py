"""What is measured: the works, the systems, and one job (a system doing a work in a process)."""

from dataclasses import dataclass
from typing import Any

_COMMON: dict[str, Any] = {
    "data.alpha": None,
    "fit": {"epochs": 1, "batch_size": 32, "lr": 0.05, "momentum": 0.0, "optimizer": "sgd"},
    "distil": {"epochs": 1, "batch_size": 64, "lr": 0.05, "temperature": 1.0},
    "fraction": 1.0,
    "seed": 0,
    "device": "cpu",
}


@dataclass(frozen=True)
class Work:
    """One workload: fedkd's settings here, the same thing as a plain loop in ``floor.py``."""

    title: str
    settings: dict[str, Any]
    model: str = "mlp"


WORKS = {
    "W1": Work("FedAvg: local epoch, parameters averaged", {"strategy": "fedavg"}),
    "W3": Work(
        "knowledge: local epoch, transfer predictions, mean, distillation epoch",
        {"strategy": {"name": "fedmd", "exchange": "soft_labels"}},
    ),
}
"""Every workload by name."""

LOOP = "loop"
"""The system that the others are compared with."""

SYSTEMS = {LOOP: "floor", "ray": "ours", "flower": "ours", "inline": "ours"}
"""Every system, and the module here whose ``run(job)`` runs it."""

FUSION = "fusion"
"""The system that only fuses, with a key of `METHODS` as its work; see ``fusion.py``."""

MODULES = {**SYSTEMS, FUSION: "fuser"}
"""What a child process can run."""

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "mean": ("fedmd", {"exchange": "soft_labels"}),
    "coordinate_median": ("coordinate_median", {}),
    "geometric_median": ("geometric_median", {}),
    "knfu": ("knfu", {}),
    "ktpfl": ("ktpfl", {}),
    "comet": ("comet", {}),
}
"""Fusion methods that are measured: strategy and parameters."""

TITLES = {
    LOOP: "plain torch loop",
    "ray": "fedkd ray",
    "flower": "Flower's engine",
    "inline": "fedkd inline",
}
"""What they are called in the table; Flower's engine is fedkd's ``engine=flower``."""


@dataclass(frozen=True)
class Size:
    """How much of a work is done.

    Parameters
    ----------
    clients, samples : int
        Clients, and private samples of each.
    transfer : int
        Transfer samples.
    rounds : int
        Steady rounds to measure, at least 1.
    """

    clients: int = 100
    samples: int = 600
    transfer: int = 2000
    rounds: int = 5


@dataclass(frozen=True)
class Job:
    """One system doing one work in a process of its own; JSON-ready.

    Parameters
    ----------
    system, work : str
        Keys of `SYSTEMS` and `WORKS`.
    size : dict
        A `Size`, as a dict.
    data, transfer_data : str
        The two data sets, as ``data`` and ``transfer.data`` take them.
    tensors : str
        The same samples, dealt to the clients, as float32 in a safetensors file (for the loop).
    actors : int or None
        Worker processes; None = one per core.
    memory : bool
        Watch the memory instead of the time.
    """

    system: str
    work: str
    size: dict[str, int]
    data: str
    transfer_data: str
    tensors: str = ""
    actors: int | None = None
    memory: bool = False

    @property
    def sizes(self) -> Size:
        """The size."""
        return Size(**self.size)

    def settings(self) -> dict[str, Any]:
        """Return fedkd's settings, for `fedkd.overrides.merge` and `fedkd.simulate`.

        One round comes before the steady ones and one after them: the first opens data and builds
        models, and the last is always evaluated.

        Examples
        --------
        >>> Job("ray", "W1", {"rounds": 5}, "mnist", "more").settings()["rounds"]
        7
        """
        work, size = WORKS[self.work], self.sizes
        rounds = size.rounds + 2
        return {
            **_COMMON,
            **work.settings,
            "model": work.model,
            "data.name": self.data,
            "data.samples_per_client": size.samples,
            "transfer.data": self.transfer_data,
            "transfer.size": size.transfer,
            "clients": size.clients,
            "rounds": rounds,
            "evaluate.every": rounds + 1,
            "engine.name": "inline" if self.system == LOOP else self.system,
            "engine.actors": self.actors,
        }
