"""The configuration of a run: typed, with defaults that work, and checked before anything starts.

Nodes that choose a thing by name and pass it parameters (``strategy``, ``objective``, ``client``,
``attack``, ``compress``, ``privacy``, ``sampler``, ``oracle``, ``data.partitioner``) are plain
dicts ``{"name": ..., parameter: value, ...}``; the allowed parameters are those of the chosen
class's signature.
"""

import math
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from ..errors import ConfigError
from .sizes import parse_size


@dataclass
class DataConfig:
    """Which data set, and how the clients share it."""

    name: str = "digits"
    """digits, mnist, fashion_mnist, cifar10, cifar100, or a Parquet folder in hub layout"""
    label: str | None = None
    """the column that is the label; null = the one called label, or the only column of classes"""
    alpha: float | None = 0.1
    """concentration of the Dirichlet label skew (small = very skewed); null = IID"""
    partitioner: dict[str, Any] = field(default_factory=lambda: {"name": "auto"})
    """auto, iid, dirichlet, pathological, shard, or _target_: any flwr_datasets partitioner"""
    samples_per_client: int | None = None
    """equal partition size; null = the data set's default, or all samples"""
    min_partition_size: int = 1
    """smallest partition that the class-wise Dirichlet split may produce"""
    validation: float = 0.0
    """fraction of each client's samples held out of training"""


@dataclass
class TransferConfig:
    """The transfer set, which every client labels."""

    size: int | None = None
    """number of transfer samples; null = the data set's default"""
    data: str | None = None
    """another data set to take them from; null = training samples that no client holds"""
    per_round: int | None = None
    """samples drawn afresh for each round; null = all of them"""
    labelled: bool = False
    """whether methods may see the transfer set's labels"""


@dataclass
class FitConfig:
    """A client's training on its private data."""

    epochs: int = 2
    """passes over the private data per round"""
    batch_size: int = 32
    """samples per step"""
    lr: float = 0.05
    """learning rate"""
    momentum: float = 0.9
    """SGD momentum (ignored by adam)"""
    optimizer: str = "sgd"
    """sgd or adam"""
    weight_decay: float = 0.0
    """L2 penalty on the weights, in all local training"""
    augment: bool = False
    """flip and crop private images at random"""


@dataclass
class DistilConfig:
    """A client's training on its teacher."""

    epochs: int = 1
    """passes over the round's transfer samples"""
    batch_size: int = 32
    """samples per step"""
    lr: float | None = None
    """learning rate; null = fit.lr"""
    temperature: float = 1.0
    """softmax temperature of student and teacher"""


@dataclass
class EvaluateConfig:
    """When and on what the clients' models are measured."""

    every: int = 1
    """rounds between evaluations; the last round is always evaluated"""
    samples: int | None = None
    """class-balanced subset of the test split; null = all. The last round always uses all"""


@dataclass
class EngineConfig:
    """What executes the clients."""

    name: str = "ray"
    """inline (this process), ray (actors) or flower (Flower's own simulation backend)"""
    actors: int | None = None
    """worker processes; null = one per core; 4 per GPU if clients train side by side"""
    gpus_per_actor: float | None = None
    """fraction of a GPU that each actor takes; null = this machine's GPUs shared out evenly"""
    cohort: str = "auto"
    """clients trained side by side: off, a number, or auto = off on a CPU, else what fits"""
    address: str | None = None
    """address of a running Ray cluster to join, such as auto; null = start one"""
    max_restarts: int = 3
    """actors that may die and be replaced before the run gives up"""
    timeout: float | None = None
    """seconds a phase after which a client that hangs is lost (engine=ray); null = no limit"""
    state_memory: int | str | None = None
    """for all clients' models together, such as 4GB; what exceeds it is on disk; null = no limit"""

    def check(self) -> None:
        """Raise `ConfigError` for a cohort, a limit or a memory that no run could use."""
        size = str(self.cohort)
        if size not in ("auto", "off") and not (size.isdecimal() and int(size) >= 1):
            raise ConfigError("engine.cohort", size, "must be auto, off or a number of at least 1")
        if self.name == "flower" and size not in ("auto", "off", "1"):
            problem = "engine=flower hands out clients one by one; use engine=ray or inline"
            raise ConfigError("engine.cohort", size, problem)
        if self.timeout is not None and self.name != "ray":
            problem = f"engine={self.name} cannot end a client that hangs; use engine=ray, or null"
            raise ConfigError("engine.timeout", self.timeout, problem)
        if self.timeout is not None and size not in ("auto", "off", "1"):
            problem = "which of them hangs could not be told for engine.timeout; use off"
            raise ConfigError("engine.cohort", size, problem)
        if self.state_memory is not None and self.name == "flower":
            problem = "is not used by engine=flower, whose clients live in messages; leave it out"
            raise ConfigError("engine.state_memory", self.state_memory, problem)
        _ = self.state_bytes

    @property
    def state_bytes(self) -> int | None:
        """``state_memory`` in bytes."""
        try:
            return None if self.state_memory is None else parse_size(self.state_memory)
        except ValueError as error:
            problem = "must be a size, such as 4GB, 500MB or a number of bytes"
            raise ConfigError("engine.state_memory", self.state_memory, problem) from error


@dataclass
class CheckpointConfig:
    """What makes a run resumable."""

    every: int | None = 10
    """rounds between checkpoints (the last round always has one); null = none at all"""


@dataclass
class FaultsConfig:
    """Simulated faults, drawn anew for every client and round from the run's seed."""

    dropout: float = 0.0
    """chance that a client is not there in a round"""
    straggler: float = 0.0
    """chance that a client trains but its reply misses the deadline"""
    crash: float = 0.0
    """chance that a client's app raises"""


@dataclass
class RecordConfig:
    """What a run keeps besides its tables."""

    knowledge: bool = False
    """keep what clients and server exchange, every round, in RUN_DIR/knowledge"""


@dataclass
class SecureConfig:
    """Secure aggregation: the server sees the sum of what clients upload, and nothing else."""

    aggregation: bool = False
    """mask what clients upload; for methods whose server needs only sums"""
    threshold: float = 0.6
    """share of a round's clients that it takes to unmask a sum, above 0.5"""
    bits: int | None = None
    """size of the masked integers, 32 or 64; null = 64 where clients weigh differently, else 32"""
    clip: float | None = None
    """largest magnitude of logits, class knowledge and parameters; null = 128"""
    rng: str = "seeded"
    """keys from the run's seed (for simulation only: whoever knows it can unmask), or from os"""

    def check(self, cohort: int) -> None:
        """Raise `ConfigError` for what cannot be used with so many clients in a round."""
        if not 0.5 < self.threshold <= 1:
            problem = "must be above 0.5 (two halves could unmask behind each other's back), to 1"
            raise ConfigError("secure.threshold", self.threshold, problem)
        if self.bits not in (None, 32, 64):
            raise ConfigError("secure.bits", self.bits, "must be 32, 64 or null")
        if self.aggregation and cohort < 2:
            problem = "the sum over a round's only client is what it uploads; have at least 2"
            raise ConfigError("secure.aggregation", True, problem)


@dataclass
class RunConfig:
    """Everything that decides the outcome of a run, and where it is written."""

    strategy: dict[str, Any] = field(default_factory=lambda: {"name": "knfu"})
    """how knowledge is fused: a name, FILE:Class or module:Class, and its parameters"""
    objective: dict[str, Any] = field(default_factory=lambda: {"name": "auto"})
    """distillation loss; auto = the strategy's own"""
    client: dict[str, Any] = field(default_factory=lambda: {"name": "standard"})
    """the clients' training loop: standard, FILE:Class or module:Class"""
    attack: dict[str, Any] = field(default_factory=lambda: {"name": "none"})
    """what hostile clients do: a name, FILE:Class or module:Class, and its parameters"""
    compress: dict[str, Any] = field(default_factory=lambda: {"name": "none"})
    """how messages are made smaller: a name, FILE:Class or module:Class, and its parameters"""
    privacy: dict[str, Any] = field(default_factory=lambda: {"name": "none"})
    """what protects private data: a name, FILE:Class or module:Class, or a list of them"""
    sampler: dict[str, Any] = field(default_factory=lambda: {"name": "ksas"})
    """active learning: which samples to label; a name, FILE:Class or module:Class"""
    oracle: dict[str, Any] = field(default_factory=lambda: {"name": "exact"})
    """active learning: who labels them; a name, FILE:Class or module:Class"""
    model: Any = "mlp"
    """a name, FILE:Class, or a list of them dealt to the clients in turn"""
    data: DataConfig = field(default_factory=DataConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    faults: FaultsConfig = field(default_factory=FaultsConfig)
    record: RecordConfig = field(default_factory=RecordConfig)
    secure: SecureConfig = field(default_factory=SecureConfig)
    clients: int = 100
    """number of clients"""
    rounds: int = 10
    """number of federated rounds"""
    fraction: float = 1.0
    """fraction of the clients drawn for each round"""
    min_clients: int = 1
    """clients whose replies a round needs; with fewer it changes nothing"""
    seed: int = 0
    """the one seed of every random stream"""
    device: str = "auto"
    """auto, cpu or cuda"""
    run_dir: str | None = None
    """where to write; null = runs/<time>-<strategy>-<data>"""
    resume: str | None = None
    """a run directory to go on with, from its newest checkpoint"""
    force: bool = False
    """resume although the configuration differs"""
    trust: bool = False
    """resume although somebody else's directory names code that is then executed"""

    @property
    def cohort(self) -> int:
        """Clients in a round."""
        return max(1, round(self.fraction * self.clients))

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-ready nested dicts."""
        return asdict(self)

    def check(self) -> None:
        """Raise `ConfigError` for the first value that no run could use.

        Examples
        --------
        >>> RunConfig(rounds=0).check()
        Traceback (most recent call last):
            ...
        fedkd.errors.ConfigError: rounds=0: must be at least 1
        """
        flat = flatten(self)
        for key, low in _AT_LEAST.items():
            if flat[key] is not None and not flat[key] >= low:
                raise ConfigError(key, flat[key], f"must be at least {low}")
        for key in _POSITIVE:
            value = flat[key]
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(key, value, "must be greater than 0 and finite")
        self.engine.check()
        for key, names in _ONE_OF.items():
            if flat[key] not in names:
                raise ConfigError(key, flat[key], "not available", names)
        if not 0 < self.fraction <= 1:
            raise ConfigError("fraction", self.fraction, "must be in (0, 1]")
        if self.min_clients > self.cohort:
            problem = f"every round would be skipped: it has only {self.cohort} clients (fraction)"
            raise ConfigError("min_clients", self.min_clients, problem)
        for key in ("data.validation", "faults.dropout", "faults.straggler", "faults.crash"):
            if not 0 <= flat[key] < 1:
                raise ConfigError(key, flat[key], "must be in [0, 1)")
        self.secure.check(self.cohort)


_AT_LEAST: dict[str, float] = {
    "clients": 1,
    "rounds": 1,
    "min_clients": 1,
    "checkpoint.every": 1,
    "engine.max_restarts": 0,
    "seed": 0,
    "fit.epochs": 0,
    "fit.batch_size": 1,
    "fit.momentum": 0,
    "fit.weight_decay": 0,
    "distil.epochs": 0,
    "distil.batch_size": 1,
    "data.samples_per_client": 1,
    "data.min_partition_size": 1,
    "transfer.size": 1,
    "transfer.per_round": 1,
    "evaluate.every": 1,
    "evaluate.samples": 1,
    "engine.actors": 1,
    "engine.gpus_per_actor": 0,
}
_POSITIVE = (
    *("data.alpha", "fit.lr", "distil.lr", "distil.temperature"),
    *("secure.clip", "engine.timeout"),
)
_ONE_OF = {
    "secure.rng": ("seeded", "os"),
    "engine.name": ("inline", "ray", "flower"),
    "fit.optimizer": ("sgd", "adam"),
    "device": ("auto", "cpu", "cuda"),
}


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return ``{"fit.lr": 0.05, ...}``: one entry per leaf, named nodes kept as dicts.

    Examples
    --------
    >>> flatten(RunConfig())["data.alpha"]
    0.1
    """
    leaves: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            leaves |= flatten(value, f"{prefix}{item.name}.")
        else:
            leaves[prefix + item.name] = value
    return leaves
