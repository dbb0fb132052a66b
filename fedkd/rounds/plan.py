"""A round, as a strategy sees it: the plan that it is given, and the outcome that it reports."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ConfigRecord
from torch import Tensor

from ..config import SecureConfig
from ..engine import BlockPool, Fleet, Reply
from ..errors import RunError
from ..knowledge import Exchanged, KnowledgeStack
from ..knowledge.admission import Expected
from ..score import DIVERGED
from .server import Server

Metrics = dict[int, dict[str, float]]

TOO_LARGE = ("finite: ", "magnitude: ")
"""How reasons begin not to admit what a diverged model says."""

HINT = " (have their models diverged? lower fit.lr or distil.lr)"


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
    """``[samples]`` int64: the round's transfer samples; of texts whose every token has a row of
    knowledge, the numbers of these rows (`fedkd.tasks.rows`)"""
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
            remedy = HINT if real and all(reason.startswith(TOO_LARGE) for reason in real) else ""
            raise RunError(f"every client failed in {phase}; the first: {cause}{remedy}")
        self.skipped = len(found) < least
        return not self.skipped
