"""What is measured: the works, and one job (a system doing a work in a process)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .systems import ENGINES, MODULES

FIT = {"epochs": 1, "batch_size": 32, "lr": 0.05, "momentum": 0.0, "optimizer": "sgd"}
DISTIL = {"epochs": 1, "batch_size": 64, "lr": 0.05, "temperature": 1.0}
FIT_DEFAULT = {"epochs": 2, "batch_size": 32, "lr": 0.05, "momentum": 0.9, "optimizer": "sgd"}
DISTIL_DEFAULT = {"epochs": 1, "batch_size": 32, "lr": 0.05, "temperature": 1.0}
"""fedkd's defaults; peers' environments cannot import its configuration."""
_COMMON: dict[str, Any] = {
    "data.alpha": None,
    "fit": FIT,
    "distil": DISTIL,
    "fraction": 1.0,
    "seed": 0,
}
_KNOWLEDGE = {"strategy": {"name": "fedmd", "exchange": "soft_labels"}}
_NOTHING = _KNOWLEDGE | {"client": {"name": "fedkd.experiments.benchmarks.noop:NoOp"}}


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
        Steady rounds to measure, at least 1; one comes before them and one after.
    test : int
        Test samples, where images are random; MNIST has its own.
    """

    clients: int = 100
    samples: int = 600
    transfer: int = 2000
    rounds: int = 5
    test: int = 10_000


@dataclass(frozen=True)
class Work:
    """One workload: fedkd's settings here, the same thing as a plain loop in ``floor.py``.

    Parameters
    ----------
    title : str
        What a round is, or a run.
    settings : dict
        fedkd's settings, beside those that all such works have.
    model : str
        Every client's model.
    messages : bool
        Whether nothing is computed, so that only the messages are measured.
    crowd : int
        Times as many clients as usual, each with this part of the usual samples.
    whole : bool
        Whether it is a whole run, as a user starts it: fedkd's defaults, evaluation too.
    sweep : tuple of str
        What ``fedkd run -m`` runs every combination of; the work is then the whole sweep.
    size : Size
        How much is done, unless told otherwise.
    """

    title: str
    settings: dict[str, Any]
    model: str = "mlp"
    messages: bool = False
    crowd: int = 1
    whole: bool = False
    sweep: tuple[str, ...] = ()
    size: Size = field(default=Size())

    @property
    def fit(self) -> dict[str, Any]:
        """Settings of training on private data."""
        return FIT_DEFAULT if self.whole else FIT

    @property
    def distil(self) -> dict[str, Any]:
        """Settings of distillation; the optimiser is that of `fit`."""
        return self.fit | (DISTIL_DEFAULT if self.whole else DISTIL)


WORKS = {
    "W1": Work("FedAvg, MLP: local epoch, parameters averaged", {"strategy": "fedavg"}),
    "W2": Work("FedAvg, LeNet: the same with a CNN", {"strategy": "fedavg"}, "lenet5"),
    "W3": Work(
        "knowledge, MLP: local epoch, transfer predictions, mean, distillation epoch", _KNOWLEDGE
    ),
    "W0": Work("no-op: soft labels sent, nothing computed", _NOTHING, messages=True),
    "W0x5": Work("no-op, five times the clients", _NOTHING, messages=True, crowd=5),
    "W4": Work(
        "a whole run: KnFu, LeNet, fedkd's defaults, evaluated",
        {"strategy": "knfu"},
        "lenet5",
        whole=True,
        size=Size(clients=20, samples=200, transfer=1000, rounds=3),
    ),
    "W5": Work(
        "the same with ResNet-8",
        {"strategy": "knfu"},
        "resnet8",
        whole=True,
        size=Size(clients=10, samples=200, transfer=1000, rounds=1),
    ),
    "W6": Work(
        "a sweep of 9 runs on digits by the command line",
        {"data.name": "digits"},
        whole=True,
        sweep=("strategy=local,fedmd,knfu", "seed=0,1,2"),
        size=Size(clients=100, samples=12, transfer=200, rounds=8),
    ),
}
"""Every workload by name."""


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
        The two data sets, as ``data`` and ``transfer.data`` take them; a whole run has its transfer
        set from ``data``, as by default.
    tensors : str
        The same samples, dealt to the clients, as float32 in a safetensors file (for the systems
        other than fedkd).
    actors : int or None
        Worker processes; None = one per core.
    memory : bool
        Watch the memory instead of the time.
    device : str
        Where the loop, and fedkd under any engine, compute: ``"cpu"`` or ``"cuda"``.
    tested : sequence of int
        For the loop of a whole run: test samples that models are measured on, round by round, as
        fedkd's tables have it; empty = all of them in all rounds.
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
    tested: Sequence[int] = ()

    @property
    def sizes(self) -> Size:
        """The size of this work.

        Examples
        --------
        >>> Job("loop", "W0x5", {"clients": 100, "samples": 600}, "", "").sizes
        Size(clients=500, samples=120, transfer=2000, rounds=5, test=10000)
        """
        size, crowd = Size(**self.size), WORKS[self.work].crowd
        return replace(size, clients=size.clients * crowd, samples=max(1, size.samples // crowd))

    @property
    def rounds(self) -> int:
        """All rounds: one comes before the steady ones and one after them.

        The first opens data and builds models, and the last is always evaluated in full.
        """
        return self.sizes.rounds + 2

    def settings(self) -> dict[str, Any]:
        """Return fedkd's settings, for `fedkd.config.overrides.merge` and `fedkd.simulate`.

        Examples
        --------
        >>> Job("ray", "W1", {"rounds": 5}, "mnist", "more").settings()["rounds"]
        7
        """
        work, size = WORKS[self.work], self.sizes
        asked = {} if work.whole else self._bare()
        return {
            **asked,
            "data.name": self.data,
            "model": work.model,
            "data.samples_per_client": size.samples,
            "transfer.size": size.transfer,
            **work.settings,
            "clients": size.clients,
            "rounds": self.rounds,
            "device": self.device,
            "engine.name": self.system if MODULES[self.system] == "ours" else "inline",
            "engine.actors": self.actors,
            **ENGINES.get(self.system, {}),
        }

    def _bare(self) -> dict[str, Any]:
        """Return the settings of works without evaluation, whose clients hold all of the data."""
        return {
            **_COMMON,
            "transfer.data": self.transfer_data,
            "evaluate.every": self.rounds + 1,
        }


def sized(work: str, given: Mapping[str, int | None]) -> dict[str, int]:
    """Return a work's size where what is given takes the place of its own.

    Examples
    --------
    >>> sized("W4", {"clients": 3, "rounds": None})
    {'clients': 3, 'samples': 200, 'transfer': 1000, 'rounds': 3, 'test': 10000}
    """
    own = asdict(WORKS[work].size)
    return own | {name: value for name, value in given.items() if value is not None}
