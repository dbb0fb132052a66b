"""The configuration of a run: typed, with defaults that work, and checked before anything starts.

Nodes that choose a thing by name and pass it parameters (``strategy``, ``task``, ``objective``,
``guard``, ``client``, ``attack``, ``compress``, ``privacy``, ``sampler``, ``oracle``,
``data.partitioner``) are plain dicts ``{"name": ..., parameter: value, ...}``; the allowed
parameters are those of the chosen class's signature.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Annotated, Any

from annotated_types import Ge, Interval

from ..errors import ConfigError
from .checked import Auto, Checked, OneOf, refuse
from .execution import CheckpointConfig, EngineConfig, FaultsConfig, RecordConfig, SecureConfig
from .samples import DataConfig, TransferConfig
from .system import SystemConfig
from .training import DistilConfig, EvaluateConfig, FitConfig

LOGGERS = ("tensorboard", "mlflow", "wandb")

CLIENTS = 100
"""Clients that ``clients=auto`` means where the data do not say."""


@dataclass
class RunConfig(Checked):
    """Everything that decides the outcome of a run, and where it is written."""

    strategy: dict[str, Any] = field(default_factory=lambda: {"name": "knfu"})
    """how knowledge is fused: a name, FILE:Class or module:Class, and its parameters"""
    task: dict[str, Any] = field(default_factory=lambda: {"name": "auto"})
    """what samples mean: auto, classification, regression, or FILE:Class; auto = as labels are"""
    objective: dict[str, Any] = field(default_factory=lambda: {"name": "auto"})
    """distillation loss; auto = the strategy's own"""
    guard: dict[str, Any] = field(default_factory=lambda: {"name": "none"})
    """what clients learn of a teacher: a name, FILE:Class or module:Class, or a list, in order"""
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
    log: list[str] = field(default_factory=list)
    """what shows the run as it goes: a list of tensorboard, mlflow, wandb; each is an extra"""
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
        for name in self.log:
            if name not in LOGGERS:
                raise ConfigError("log", name, "no such logger", LOGGERS)
        self.data.check()
        self.transfer.check()
        self.distil.check()
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
