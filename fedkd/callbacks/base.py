"""What a callback can see of a run. Override the hooks you need; each has an empty default."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..score import ALMA, Score

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..knowledge import Exchanged, KnowledgeStack


@dataclass
class RunInfo:
    """What is known when a run starts."""

    config: "RunConfig"
    run_dir: Path
    classes: int
    sizes: list[int]
    """training samples of each client"""
    transfer_size: int
    parameters: dict[str, int]
    """trainable parameters of each architecture in use"""
    notes: Sequence[str] = ()
    """what the user should know before the first round, a line each"""
    score: Score = ALMA
    """what the task is measured by"""


@dataclass(frozen=True)
class Row:
    """A round's row, and its clients' rows, in the tables."""

    scalars: dict[str, Any]
    clients: list[tuple[int, str, float]]


@dataclass
class RoundRecord:
    """What happened in one round."""

    round: int
    rounds: int
    scalars: dict[str, float | int | None]
    """the row of rounds.parquet"""
    clients: list[tuple[int, str, float]] = field(default_factory=list)
    """(client, metric, value) rows of clients.parquet"""
    weights: tuple[list[int], torch.Tensor] | None = None
    """clients and their row-stochastic mixing weights ``[n, n]``"""
    rejected: dict[int, str] = field(default_factory=dict)
    """clients whose reply was not admitted, and why"""
    diverged: list[int] = field(default_factory=list)
    """clients whose model, or what it predicts, is not finite"""
    knowledge: "KnowledgeStack | None" = None
    exchanged: "Exchanged | None" = None
    """what the server sent"""


class Callback:
    """Base class of callbacks."""

    def on_run_start(self, run: RunInfo) -> None:
        """Before the first round, the engine is up."""

    def on_phase(self, round_: int, phase: str, done: int, total: int) -> None:
        """`done` of `total` clients (or blocks) have finished `phase` of round `round_`."""

    def on_round(self, record: RoundRecord) -> None:
        """After every round."""

    def on_run_end(self, summary: dict[str, Any] | None, error: BaseException | None) -> None:
        """Once, whether the run finished (`summary`) or not (`error`)."""
