"""What a strategy is to the rest of fedkd: it is given a round's plan and reports an outcome."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from flwr.app import ArrayRecord, ConfigRecord
from torch import Tensor, nn

from ..config import RunConfig, SecureConfig
from ..diverging import DIVERGED
from ..engine import BlockPool, Fleet, Reply
from ..errors import RunError
from ..knowledge import Exchanged, KnowledgeStack, kind_named
from ..knowledge.admission import Expected
from .server import Server
from .timing import Workload

Metrics = dict[int, dict[str, float]]


@dataclass
class RoundPlan:
    """What a strategy is given for one round."""

    number: int
    cohort: list[int]
    """clients of this round, ascending"""
    fleet: Fleet
    blocks: BlockPool
    classes: int
    temperature: float
    sample_ids: Tensor
    """``[samples]`` int64: the round's transfer samples"""
    all_samples: bool
    """True where those are the whole transfer set"""
    evaluate: int | None
    """test samples to measure on in this round (0 = all), or None"""
    seed: int
    """the server's stream for this round"""
    expect: Callable[[int, Tensor], Expected]
    """(client, transfer samples) -> what to accept from it, as the exchange says"""
    server: Server
    """the server's own means"""
    labels: Tensor | None = None
    """``[samples]`` labels of the transfer samples, if methods may see them"""
    record: bool = False
    """whether somebody keeps what is exchanged, where noting it costs a copy"""
    min_clients: int = 1
    """with fewer usable replies to the first phase, the rest of the round is skipped"""
    secure: SecureConfig | None = None
    """how to sum what clients upload, where nothing else of it may be seen"""

    def options(self, **more: Any) -> ConfigRecord:
        """Return a message's configuration."""
        return ConfigRecord({"round": self.number, **more})

    def evaluation(self) -> dict[str, int]:
        """Return the option that asks a client to evaluate, if this round does."""
        return {} if self.evaluate is None else {"evaluate": self.evaluate}


@dataclass
class Outcome:
    """What a strategy reports of one round."""

    changed: set[int] = field(default_factory=set)
    """clients whose model changed"""
    metrics: Metrics = field(default_factory=dict)
    """numbers per client for the tables, ``local`` and ``global`` where it was evaluated; they say
    what the simulation measured, so no method may look at them"""
    rejected: dict[int, str] = field(default_factory=dict)
    """clients whose reply was not used, and why"""
    diverged: dict[int, bool] = field(default_factory=dict)
    """whether a client's model was not finite when it last replied"""
    seconds: dict[str, float] = field(default_factory=dict)
    """wall-clock seconds per phase"""
    simulated: set[int] = field(default_factory=set)
    """those of `rejected` that were lost to simulated faults"""
    skipped: bool = False
    """whether too few clients were left to go on with the round"""
    scalars: dict[str, float | str] = field(default_factory=dict)
    """extra columns of the rounds table"""
    weights: tuple[list[int], Tensor] | None = None
    """mixing weights, if the method has them"""
    knowledge: KnowledgeStack | None = None
    exchanged: Exchanged = field(default_factory=Exchanged)
    """what went to the clients"""

    def take(self, replies: Iterable[Reply]) -> list[Reply]:
        """Note every client's numbers and losses; return the replies that have content."""
        return list(self.taking(replies))

    def taking(self, replies: Iterable[Reply]) -> Iterator[Reply]:
        """Do as `take` does, reply by reply."""
        for reply in replies:
            numbers: dict[str, float] = {}
            if reply.message is not None and reply.message.has_content():
                self.changed.add(reply.client)  # also where the reply came too late
                numbers = self.numbers(reply)
            if reply.content is None:
                self._lose(reply)
                continue
            self.metrics.setdefault(reply.client, {}).update(numbers)
            yield reply

    def numbers(self, reply: Reply) -> dict[str, float]:
        """Return a reply's numbers; note whether the client's model has diverged."""
        numbers = reply.numbers
        self.diverged[reply.client] = bool(numbers.pop(DIVERGED, 0.0))
        return numbers

    def _lose(self, reply: Reply) -> None:
        self.rejected[reply.client] = reply.error or "no reply"
        if reply.fault is not None:
            self.simulated.add(reply.client)
            self.metrics.setdefault(reply.client, {})[reply.fault] = 1.0

    def note(self, clients: list[int], name: str, values: Tensor) -> None:
        """Put a method's extra numbers where they belong: a column, or a metric per client."""
        if values.dim() == 0:
            self.scalars[name] = values.item()
            return
        for client, row in zip(clients, values.tolist(), strict=True):
            each = enumerate(row) if isinstance(row, list) else ()
            numbers = {f"{name}_{i}": item for i, item in each} or {name: row}
            self.metrics.setdefault(client, {}).update(numbers)

    def goes_on(self, found: Sequence[Any], phase: str, least: int = 1) -> bool:
        """Tell whether a phase left enough clients to go on with the round; note it if not.

        Simulated faults may take everybody: the round is then skipped like any other with fewer
        than `least`.

        Raises
        ------
        RunError
            If nobody is left and not only simulated faults are to blame: with the first real cause.
        """
        if self.skipped:
            return False
        real = [reason for k, reason in self.rejected.items() if k not in self.simulated]
        if not found and (real or not self.simulated):
            cause = next(iter(real), "no replies")
            raise RunError(f"every client failed in {phase}; the first: {cause}")
        self.skipped = len(found) < least
        return not self.skipped


class Strategy(ABC):
    """The server's side of a method.

    Attributes
    ----------
    exchange : str or None
        What clients exchange with the server: a module of `fedkd.clients.exchange`, or
        ``FILE.py:Class``; None = nothing.
    objective : str
        The distillation loss that ``objective=auto`` stands for.
    temperature : float or None
        Softmax temperature of the soft labels that clients upload; None = ``distil.temperature``.
    state : dict of str to Tensor
        What the method remembers from round to round, by client index where it is per client.
    lesson_kind : str or None
        Kind of what clients are sent, where that is not the kind of what they upload.
    """

    exchange: str | None = None
    lesson_kind: ClassVar[str | None] = None
    objective: str = "kl"
    temperature: float | None = None
    needs_labels: ClassVar[bool] = False
    homogeneous: ClassVar[bool] = False
    """True where all clients must have one architecture"""
    personalised: ClassVar[bool] = False
    """True where clients may learn from different teachers"""
    sums_only: bool = False
    """True where sums over clients, of what each can compute by itself, are all the server needs:
    `fuse` makes of one row, the mean, what it makes of all rows"""
    brief: ClassVar[Mapping[str, Any]] = {}
    """Parameters with which a run of four rounds shows what each of the others does"""
    uses_transfer: ClassVar[bool] = False
    """True where the server itself works on transfer samples, whatever clients exchange"""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}

    def exchange_node(self) -> dict[str, Any] | None:
        """Return the exchange and its parameters: ``{"name": ..., parameter: value}``."""
        return None if self.exchange is None else {"name": self.exchange}

    def objective_node(self) -> dict[str, Any]:
        """Return the distillation loss and its parameters, for where the run names none."""
        return {"name": self.objective}

    def softness(self, kind: str, default: float) -> float:
        """Return the softmax temperature of what clients upload.

        Parameters
        ----------
        kind : str
            The kind of knowledge that they exchange; only soft labels have a temperature, others 1.
        default : float
            ``distil.temperature``.
        """
        return (self.temperature or default) if kind_named(kind).simplex else 1.0

    def teacher_softness(self, kind: str, default: float) -> float:
        """Return the softmax temperature that teachers have; parameters as for `softness`.

        By default that of what they are made of. A model of the server's own has 1.
        """
        return self.softness(kind, default)

    def unused(self, kind: str) -> dict[str, str]:
        """Return the parameters that change nothing as the others are, and why: ``{name: why}``.

        A run that sets one is refused; `why` is its reason and remedy. `kind` is the kind of
        knowledge that clients exchange.
        """
        del kind
        return {}

    def compress_node(self) -> dict[str, Any] | None:
        """Return the codec that belongs to the method, for where the run names none."""
        return None

    def reads(self) -> dict[str, str]:
        """Return which of the clients' numbers the method reads, by the parameter that says so."""
        return {}

    def refusal(self, server: Server) -> str | None:
        """Say why the method cannot work in this run; None if it can."""
        del server
        return None

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Settle what depends on the run, once before it starts; return what its user should know.

        Parameters
        ----------
        config : RunConfig
            The run's, with all defaults resolved.
        models : sequence of nn.Module
            A model like each client's.
        """
        del config, models
        return []

    def cohort(self, number: int, drawn: list[int], clients: int) -> list[int]:
        """Return who takes part in a round, ascending; by default those that were drawn."""
        del number, clients
        return drawn

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return what clients with so many private samples would fit in a round; by default all."""
        del number
        return [Workload(size) for size in sizes]

    @abstractmethod
    def round(self, plan: RoundPlan) -> Outcome:
        """Run one round."""

    def start(self, fleet: Fleet) -> None:
        """Prepare before the first round."""
        del fleet

    def save(self) -> dict[str, Tensor]:
        """Return what the strategy needs to go on after the rounds so far."""
        return dict(self.state)

    def resume(self, fleet: Fleet, saved: dict[str, Tensor]) -> None:
        """Go on from what `save` returned, in place of `start`."""
        del fleet
        self.state = dict(saved)

    def arrays(self) -> dict[str, Tensor]:
        """Return the server's own arrays (part of the run's digest)."""
        return dict(self.state)

    def broadcast(self) -> ArrayRecord | None:
        """Return the model that every client has from the server, if the method is of that kind."""
        return None
