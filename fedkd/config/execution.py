"""What executes a run, what it keeps, what goes wrong in it and what the server may see."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from ..errors import ConfigError
from .checked import Checked, OneOf
from .sizes import parse_size


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
