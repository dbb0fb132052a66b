"""What is measured: the works, the systems, and one job (a system doing a work in a process)."""

from dataclasses import dataclass, field, replace
from typing import Any

_COMMON: dict[str, Any] = {
    "data.alpha": None,
    "fit": {"epochs": 1, "batch_size": 32, "lr": 0.05, "momentum": 0.0, "optimizer": "sgd"},
    "distil": {"epochs": 1, "batch_size": 64, "lr": 0.05, "temperature": 1.0},
    "fraction": 1.0,
    "seed": 0,
}
_KNOWLEDGE = {"strategy": {"name": "fedmd", "exchange": "soft_labels"}}
_NOTHING = _KNOWLEDGE | {"client": {"name": "fedkd.experiments.benchmarks.noop:NoOp"}}


@dataclass(frozen=True)
class Work:
    """One workload: fedkd's settings here, the same thing as a plain loop in ``floor.py``.

    Parameters
    ----------
    title : str
        What a round is.
    settings : dict
        fedkd's settings.
    model : str
        Every client's model.
    messages : bool
        Whether nothing is computed, so that only the messages are measured.
    crowd : int
        Times as many clients as usual, each with this part of the usual samples.
    """

    title: str
    settings: dict[str, Any]
    model: str = "mlp"
    messages: bool = False
    crowd: int = 1


WORKS = {
    "W1": Work("FedAvg, MLP: local epoch, parameters averaged", {"strategy": "fedavg"}),
    "W2": Work("FedAvg, LeNet: the same with a CNN", {"strategy": "fedavg"}, "lenet5"),
    "W3": Work(
        "knowledge, MLP: local epoch, transfer predictions, mean, distillation epoch", _KNOWLEDGE
    ),
    "W0": Work("no-op: soft labels sent, nothing computed", _NOTHING, messages=True),
    "W0x5": Work("no-op, five times the clients", _NOTHING, messages=True, crowd=5),
}
"""Every workload by name."""

PARAMETRIC = ("W1", "W2")
"""Works of frameworks that average parameters and know no knowledge."""


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
    works : tuple of str
        The works that it can express.
    """

    title: str
    module: str
    venv: str | None = None
    distributed: bool = False
    works: tuple[str, ...] = field(default=tuple(WORKS))


LOOP = "loop"
"""The system that the others are compared with."""

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
    LOOP: System("plain torch loop", "floor"),
    BARE: System("bare Ray actors", "bare"),
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
        The same samples, dealt to the clients, as float32 in a safetensors file (for the systems
        other than fedkd).
    actors : int or None
        Worker processes; None = one per core.
    memory : bool
        Watch the memory instead of the time.
    device : str
        Where the loop, and fedkd under any engine, compute: ``"cpu"`` or ``"cuda"``.
    """

    system: str
    work: str
    size: dict[str, int]
    data: str
    transfer_data: str
    tensors: str = ""
    actors: int | None = None
    memory: bool = False
    device: str = "cpu"

    @property
    def sizes(self) -> Size:
        """The size of this work.

        Examples
        --------
        >>> Job("loop", "W0x5", {"clients": 100, "samples": 600}, "", "").sizes
        Size(clients=500, samples=120, transfer=2000, rounds=5)
        """
        size, crowd = Size(**self.size), WORKS[self.work].crowd
        return replace(size, clients=size.clients * crowd, samples=max(1, size.samples // crowd))

    def settings(self) -> dict[str, Any]:
        """Return fedkd's settings, for `fedkd.config.overrides.merge` and `fedkd.simulate`.

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
            "device": self.device,
            "engine.name": self.system if MODULES[self.system] == "ours" else "inline",
            "engine.actors": self.actors,
            **ENGINES.get(self.system, {}),
        }
