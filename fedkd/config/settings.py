"""The configuration of a run: typed, with defaults that work, and checked before anything starts.

Nodes that choose a thing by name and pass it parameters (``strategy``, ``task``, ``objective``,
``client``, ``attack``, ``compress``, ``privacy``, ``sampler``, ``oracle``, ``data.partitioner``)
are plain dicts ``{"name": ..., parameter: value, ...}``; the allowed parameters are those of the
chosen class's signature.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval, MinLen

from ..errors import ConfigError
from .checked import Checked, OneOf, refuse
from .sizes import parse_size
from .system import SystemConfig

Auto = Annotated[str, OneOf(("auto",))]
"""What is chosen as the run goes, where a key takes a number too."""

POINTS = 10
"""Rounds that ``evaluate.every=auto`` evaluates each time the number of rounds doubles."""

SUBSET = 2_000
"""Test samples that ``evaluate.samples=auto`` takes."""

CLIENTS = 100
"""Clients that ``clients=auto`` means where the data do not say."""


@dataclass
class DataConfig(Checked):
    """Which data set, and how the clients share it."""

    name: str = "digits"
    """a name (fedkd list data), a Parquet or CSV file, a folder of them or of pictures by class"""
    label: Any = None
    """the label's column, or a list of columns of numbers; null = label, or the only classes"""
    features: Annotated[list[str] | None, MinLen(1)] = None
    """the columns that are the features, in this order; null = all that can be used"""
    standardise: bool | None = None
    """whether a table's numbers get mean 0 and deviation 1; null = in regression"""
    text: str | None = None
    """the column of texts that are the samples; null = the only one, if there are no features"""
    vocabulary: Annotated[int, Ge(257)] = 8192
    """tokens that a tokenizer of texts learns at most: padding, 256 bytes, and the rest"""
    length: Annotated[int, Ge(1)] = 128
    """tokens that a text has at most; longer ones are cut, shorter ones padded"""
    alpha: Annotated[float | None, Gt(0)] = 0.1
    """concentration of the Dirichlet label skew (small = very skewed); null = IID"""
    partitioner: dict[str, Any] = field(default_factory=lambda: {"name": "auto"})
    """auto, iid, dirichlet, pathological, shard, FILE:Class, module:Class, or _target_"""
    client: str | None = None
    """the column that says whose a sample is: each of its values is a client, in sorted order"""
    split: str | None = None
    """a file of row numbers for each client: .npz, or JSON lists; in Python, lists of arrays"""
    samples_per_client: Annotated[int | None, Ge(1)] = None
    """equal partition size; null = the data set's default, or all samples"""
    min_partition_size: Annotated[int, Ge(1)] = 1
    """smallest partition that the class-wise Dirichlet split may produce"""
    validation: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """fraction of each client's samples held out of training"""
    test: Annotated[str, OneOf(("official", "local"))] = "official"
    """local accuracy: official test split under the client's labels, or local = its own samples"""
    test_share: Annotated[float | None, Interval(gt=0, lt=1)] = None
    """share of each client's samples to test on; null = its own test split's, else a fifth"""

    @property
    def held(self) -> str | None:
        """The key that says who holds what, if one does."""
        return next((f"data.{key}" for key in ("client", "split") if getattr(self, key)), None)

    def check(self) -> None:
        """Raise `ConfigError` for what is said twice, or for nothing."""
        if self.client is not None and self.split is not None:
            problem = "says who holds what, and so does data.client; leave one of them out"
            raise ConfigError("data.split", self.split, problem)
        if self.test_share is not None and self.test != "local":
            problem = "is for data.test=local, which tests clients on samples of their own"
            raise ConfigError("data.test_share", self.test_share, problem)


@dataclass
class TransferConfig(Checked):
    """The transfer set, which every client labels."""

    size: Annotated[int | None, Ge(1)] = None
    """number of transfer samples; null = the data set's default"""
    data: str | None = None
    """another data set, labelled or not; null = training samples that no client holds"""
    split: str | None = None
    """a file of their row numbers: .npz, .npy or a JSON list; in Python, an array; null = drawn"""
    per_round: Annotated[int | None, Ge(1)] = None
    """samples drawn afresh for each round; null = all of them"""
    labelled: bool = False
    """whether methods and objectives may see the transfer set's labels"""


@dataclass
class FitConfig(Checked):
    """A client's training on its private data."""

    epochs: Annotated[int, Ge(0)] = 2
    """passes over the private data per round"""
    batch_size: Annotated[int, Ge(1)] = 32
    """samples per step"""
    lr: Annotated[float, Gt(0)] = 0.05
    """learning rate"""
    momentum: Annotated[float, Ge(0)] = 0.9
    """SGD momentum (ignored by adam)"""
    optimizer: Annotated[str, OneOf(("sgd", "adam"))] = "sgd"
    """sgd or adam"""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """L2 penalty on the weights, in all local training"""
    augment: bool = False
    """flip and crop private images at random"""


@dataclass
class DistilConfig(Checked):
    """A client's training on its teacher."""

    epochs: Annotated[int, Ge(0)] = 1
    """passes over the round's transfer samples"""
    batch_size: Annotated[int, Ge(1)] = 32
    """samples per step"""
    lr: Annotated[float | None, Gt(0)] = None
    """learning rate; null = fit.lr"""
    temperature: Annotated[float, Gt(0)] = 1.0
    """softmax temperature of student and teacher"""


@dataclass
class EvaluateConfig(Checked):
    """When and on what the clients' models are measured."""

    every: Annotated[int, Ge(1)] | Auto = 1
    """rounds between evaluations; auto = 1, from 20 on 2, from 40 on 4, ...; the last is always"""
    samples: Annotated[int, Ge(1)] | Auto | None = "auto"
    """class-balanced subset of the test split; auto = 2000; null = all. The last round uses all"""

    def due(self, number: int) -> bool:
        """Say whether a round before the last is evaluated, whatever the last will be.

        Examples
        --------
        >>> [n for n in range(1, 101) if n > 30 and EvaluateConfig(every="auto").due(n)]
        [32, 34, 36, 38, 40, 44, 48, 52, 56, 60, 64, 68, 72, 76, 80, 88, 96]
        """
        every = self.every
        if isinstance(every, str):
            every = 1 << max(0, (number // POINTS).bit_length() - 1)
        return number % every == 0

    def subset(self, test: int) -> int:
        """Return how many of so many test samples rounds before the last take; 0 = all.

        Examples
        --------
        >>> [EvaluateConfig().subset(test) for test in (360, 10_000)]
        [0, 2000]
        """
        some = SUBSET if isinstance(self.samples, str) else self.samples
        return some if some and some < test else 0


@dataclass
class EngineConfig(Checked):
    """What executes the clients."""

    name: Annotated[str, OneOf(("inline", "ray", "flower"))] = "ray"
    """inline (this process), ray (actors) or flower (Flower's own simulation backend)"""
    actors: Annotated[int | None, Ge(1)] = None
    """worker processes; null = one per core; 4 per GPU if clients train side by side"""
    gpus_per_actor: Annotated[float | None, Ge(0)] = None
    """fraction of a GPU that each actor takes; null = this machine's GPUs shared out evenly"""
    stack: str = "auto"
    """clients trained side by side: off, a number, or auto = off on a CPU, else what fits"""
    address: str | None = None
    """address of a running Ray cluster to join, such as auto; null = start one"""
    max_restarts: Annotated[int, Ge(0)] = 3
    """actors that may die and be replaced before the run gives up"""
    timeout: Annotated[float | None, Gt(0)] = None
    """seconds a phase after which a client that hangs is lost (engine=ray); null = no limit"""
    state_memory: int | str | None = None
    """for all clients' models together, such as 4GB; what exceeds it is on disk; null = no limit"""

    def check(self) -> None:
        """Raise `ConfigError` for a stack, a limit or a memory that no run could use."""
        size = str(self.stack)
        if size not in ("auto", "off") and not (size.isdecimal() and int(size) >= 1):
            raise ConfigError("engine.stack", size, "must be auto, off or a number of at least 1")
        if self.name == "flower" and size not in ("auto", "off", "1"):
            problem = "engine=flower hands out clients one by one; use engine=ray or inline"
            raise ConfigError("engine.stack", size, problem)
        if self.timeout is not None and self.name != "ray":
            problem = f"engine={self.name} cannot end a client that hangs; use engine=ray, or null"
            raise ConfigError("engine.timeout", self.timeout, problem)
        if self.timeout is not None and size not in ("auto", "off", "1"):
            problem = "which of them hangs could not be told for engine.timeout; use off"
            raise ConfigError("engine.stack", size, problem)
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
class CheckpointConfig(Checked):
    """What makes a run resumable."""

    every: Annotated[int | None, Ge(1)] = 10
    """rounds between checkpoints (the last round always has one); null = none at all"""


@dataclass
class FaultsConfig(Checked):
    """Simulated faults, drawn anew for every client and round from the run's seed."""

    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """chance that a client is not there in a round"""
    straggler: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """chance that a client trains but its reply misses the deadline"""
    crash: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """chance that a client's app raises"""


@dataclass
class RecordConfig(Checked):
    """What a run keeps besides its tables."""

    knowledge: bool = False
    """keep what clients and server exchange, every round, in RUN_DIR/knowledge"""


@dataclass
class SecureConfig(Checked):
    """Secure aggregation: the server sees the sum of what clients upload, and nothing else."""

    aggregation: bool = False
    """mask what clients upload; for methods whose server needs only sums"""
    threshold: Annotated[float, Interval(gt=0.5, le=1)] = 0.6
    """share of a round's clients that it takes to unmask a sum: two halves could, each by itself"""
    bits: Annotated[int | None, OneOf((32, 64, None))] = None
    """size of the masked integers, 32 or 64; null = 64 where clients weigh differently, else 32"""
    clip: Annotated[float | None, Gt(0)] = None
    """largest magnitude of logits, class knowledge and parameters; null = 128"""
    rng: Annotated[str, OneOf(("seeded", "os"))] = "seeded"
    """keys from the run's seed (for simulation only: whoever knows it can unmask), or from os"""

    def check(self, cohort: int) -> None:
        """Raise `ConfigError` for what cannot be used with so many clients in a round."""
        if self.aggregation and cohort < 2:
            problem = "the sum over a round's only client is what it uploads; have at least 2"
            raise ConfigError("secure.aggregation", True, problem)


@dataclass
class RunConfig(Checked):
    """Everything that decides the outcome of a run, and where it is written."""

    strategy: dict[str, Any] = field(default_factory=lambda: {"name": "knfu"})
    """how knowledge is fused: a name, FILE:Class or module:Class, and its parameters"""
    task: dict[str, Any] = field(default_factory=lambda: {"name": "auto"})
    """what samples mean: auto, classification, regression, or FILE:Class; auto = as labels are"""
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
    model: Any = "auto"
    """a name, FILE:Class, or a list of them dealt to the clients in turn; their parameters are
    model.PARAMETER, in a list {name: mlp, hidden: 64}; auto = mlp, for texts embedding_bag"""
    data: DataConfig = field(default_factory=DataConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    faults: FaultsConfig = field(default_factory=FaultsConfig)
    system: SystemConfig = field(default_factory=SystemConfig)
    record: RecordConfig = field(default_factory=RecordConfig)
    secure: SecureConfig = field(default_factory=SecureConfig)
    clients: Annotated[int, Ge(1)] | Auto = "auto"
    """number of clients; auto = as many as come with the data, else 100"""
    rounds: Annotated[int, Ge(1)] = 10
    """number of federated rounds"""
    fraction: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """fraction of the clients drawn for each round"""
    min_clients: Annotated[int, Ge(1)] = 1
    """clients whose replies a round needs; with fewer it changes nothing"""
    seed: Annotated[int, Ge(0)] = 0
    """the one seed of every random stream"""
    device: Annotated[str, OneOf(("auto", "cpu", "cuda"))] = "auto"
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
    def population(self) -> int:
        """All clients; before the data are opened, those that there are by default."""
        return CLIENTS if isinstance(self.clients, str) else self.clients

    @property
    def cohort(self) -> int:
        """Clients in a round."""
        return max(1, round(self.fraction * self.population))

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
        refuse(self)
        self.data.check()
        self.engine.check()
        self.system.check(self.faults.straggler)
        if self.clients == "auto":
            return  # how many are in a round is known once the data are open
        if self.min_clients > self.cohort:
            problem = f"every round would be skipped: it has only {self.cohort} clients (fraction)"
            raise ConfigError("min_clients", self.min_clients, problem)
        self.secure.check(self.cohort)


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
