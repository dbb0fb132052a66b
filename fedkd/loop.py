"""The rounds of a run, whatever the strategy and the engine."""

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from flwr.app import ConfigRecord, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from .callbacks import Callback, RoundRecord
from .checkpoint import Checkpoint, Keeper
from .config import RunConfig
from .engine import BlockPool, Fleet, Reply
from .faults import Faults
from .knowledge import to_tensor
from .protocol import Outcome, RoundPlan, Strategy
from .rng import SERVER, stream

if TYPE_CHECKING:
    from .data import Federation

log = logging.getLogger("fedkd")

ACCURACIES = ("local", "global", "validation")
"""Per-client accuracies; each has its mean and standard deviation over clients in the tables."""


class Loop:
    """Runs the rounds against a grid and reports them to the callbacks.

    Parameters
    ----------
    config : RunConfig
        The run's configuration.
    strategy : Strategy
        The server's side of the method.
    federation : Federation
        The data; the server itself looks only at sizes and at transfer labels where it may.
    callbacks : sequence of Callback
        Observers.

    Attributes
    ----------
    keeper : Keeper or None
        Writes checkpoints.
    resumed : Checkpoint or None
        Where to go on.
    """

    def __init__(
        self,
        config: RunConfig,
        strategy: Strategy,
        federation: "Federation",
        callbacks: Sequence[Callback],
    ) -> None:
        self.config, self.strategy, self.federation = config, strategy, federation
        self.callbacks = callbacks
        self.keeper: Keeper | None = None
        self.resumed: Checkpoint | None = None
        self.fleet: Fleet | None = None
        self.faults = Faults(config.faults, config.seed)
        self.number = 0  # the round under way
        self.current: dict[int, dict[str, float]] = {}  # each client's last measured accuracies
        self.stale = set(range(config.clients))  # clients changed since they were measured
        self.final_states: list[dict[str, Tensor]] = []
        self.started: float | None = None

    def run(self, grid: Grid, blocks: BlockPool) -> None:
        """Run all rounds and collect the final models."""
        self.fleet = Fleet(grid, self.config.clients, self._progress)
        self.fleet.hello()
        done = self._begin(self.fleet)
        self.started = time.perf_counter()
        for number in range(done + 1, self.config.rounds + 1):
            self._round(number, self.fleet, blocks)
            if self.keeper is not None and self.keeper.due(number):
                self.keeper.keep(self._checkpoint(number, self.fleet))
        self.final_states = self._final_states(self.fleet)

    def _begin(self, fleet: Fleet) -> int:
        """Start the strategy, or put everything back as a checkpoint has it; return its round."""
        if self.resumed is None:
            self.strategy.start(fleet)
            return 0
        checkpoint = self.resumed
        for reply in fleet.call("query.restore", checkpoint.clients, checkpoint.round):
            _ = reply.ok
        self.strategy.resume(fleet, checkpoint.server)
        measured = checkpoint.measured
        self.current = {int(client): numbers for client, numbers in measured["current"].items()}
        self.stale = set(measured["stale"])
        return checkpoint.round

    def _checkpoint(self, number: int, fleet: Fleet) -> Checkpoint:
        """Collect what every client and the strategy remember after a round."""
        measured = {"current": self.current, "stale": sorted(self.stale)}
        clients = {reply.client: reply.ok for reply in self._snapshots(number, fleet)}
        for content in clients.values():
            del content["metrics"]  # the time it took
        return Checkpoint(number, clients, self.strategy.save(), measured)

    def cancel(self) -> None:
        """Make a loop that runs in another thread end at its next message."""
        if self.fleet is not None:
            self.fleet.cancelled = True

    def _progress(self, phase: str, done: int, total: int) -> None:
        for callback in self.callbacks:
            callback.on_phase(self.number, phase, done, total)

    def _round(self, number: int, fleet: Fleet, blocks: BlockPool) -> None:
        began, up, down = time.perf_counter(), fleet.bytes_up, fleet.bytes_down
        plan = self._plan(number, fleet, blocks)
        self.number = number
        fleet.begin(self.faults.of_round(plan.cohort, number))
        outcome = self.strategy.round(plan)
        self.stale |= outcome.changed
        seconds = _phases(outcome)
        if plan.evaluate is not None:
            seconds["evaluate"] += self._measure(plan, outcome)
        scalars: dict[str, Any] = {
            "round": number,
            "participants": len(plan.cohort),
            **self._accuracies(plan.evaluate is not None),
            "rejected": len(outcome.rejected),
            "skipped": int(outcome.skipped),
            "bytes_up": fleet.bytes_up - up,
            "bytes_down": fleet.bytes_down - down,
            **{f"seconds_{phase}": value for phase, value in seconds.items()},
            "seconds": time.perf_counter() - began,
            **outcome.scalars,
        }
        self._report(number, scalars, outcome)

    def _plan(self, number: int, fleet: Fleet, blocks: BlockPool) -> RoundPlan:
        """Draw the round's cohort and transfer samples."""
        config, size = self.config, self.federation.transfer_size
        last = number == config.rounds
        evaluates = last or number % config.evaluate.every == 0
        some = config.transfer.per_round
        ids = _draw(size, some or size, stream(config.seed, SERVER, number, "transfer"))
        labels = self.federation.transfer_labels()[ids] if config.transfer.labelled else None
        cohort = _draw(config.clients, config.cohort, stream(config.seed, SERVER, number, "cohort"))
        return RoundPlan(
            number=number,
            cohort=cohort.tolist(),
            fleet=fleet,
            blocks=blocks,
            classes=self.federation.classes,
            temperature=config.distil.temperature,
            sample_ids=ids,
            all_samples=len(ids) == size,
            evaluate=(0 if last else config.evaluate.samples or 0) if evaluates else None,
            seed=stream(config.seed, SERVER, number, "strategy"),
            labels=labels,
            min_clients=config.min_clients,
        )

    def _measure(self, plan: RoundPlan, outcome: Outcome) -> float:
        """Bring every client's accuracy up to date; return the seconds that took.

        Clients that the round itself measured are done. The others are measured now, if their
        model changed since, or if their number is from a subset of the test split.
        """
        began = time.perf_counter()
        fresh = {k: numbers for k, numbers in outcome.metrics.items() if "local" in numbers}
        model = self.strategy.broadcast()
        whole = plan.evaluate == 0 and self.config.evaluate.samples is not None
        due = set(range(self.config.clients)) if model or whole else self.stale
        content: dict[str, Any] = {"config": plan.options(**plan.evaluation())}
        if model is not None:
            content["arrays"] = model
        contents = dict.fromkeys(sorted(due - set(fresh)), RecordDict(content))
        for reply in plan.fleet.call("query.evaluate", contents, plan.number):
            numbers = dict(reply.ok.metric_records["metrics"])
            fresh[reply.client] = numbers  # type: ignore[assignment]
            outcome.metrics.setdefault(reply.client, {}).update(fresh[reply.client])
        self.current |= fresh
        self.stale.clear()
        return time.perf_counter() - began

    def _accuracies(self, evaluated: bool) -> dict[str, float | None]:
        """Return mean and standard deviation over clients of each accuracy."""
        columns: dict[str, float | None] = {}
        for name in ACCURACIES:
            values = [
                self.current[k][name] for k in sorted(self.current) if name in self.current[k]
            ]
            if name == "validation" and not values:
                continue
            known = evaluated and bool(values)
            columns[f"alma_{name}"] = float(np.mean(values)) if known else None
            columns[f"alma_{name}_std"] = float(np.std(values)) if known else None
        return columns

    def _report(self, number: int, scalars: dict[str, Any], outcome: Outcome) -> None:
        rows = [
            (client, name, float(value))
            for client in sorted(outcome.metrics)
            for name, value in outcome.metrics[client].items()
            if not name.startswith("seconds")
        ]
        rows += [(client, "rejected", 1.0) for client in sorted(outcome.rejected)]
        for client, reason in sorted(outcome.rejected.items()):
            log.info("round %d: client %d rejected: %s", number, client, reason)
        record = RoundRecord(
            round=number,
            rounds=self.config.rounds,
            scalars=scalars,
            clients=rows,
            weights=outcome.weights,
            rejected=outcome.rejected,
            knowledge=outcome.knowledge,
        )
        for callback in self.callbacks:
            callback.on_round(record)

    def _snapshots(self, number: int, fleet: Fleet) -> list[Reply]:
        """Ask every client for all that it remembers."""
        empty = RecordDict({"config": ConfigRecord()})
        return fleet.call("query.snapshot", dict.fromkeys(range(fleet.clients), empty), number)

    def _final_states(self, fleet: Fleet) -> list[dict[str, Tensor]]:
        """Fetch every client's final model."""
        return [
            {name: to_tensor(array) for name, array in reply.ok.array_records["arrays"].items()}
            for reply in self._snapshots(self.config.rounds, fleet)
        ]


def _draw(total: int, some: int, seed: int) -> Tensor:
    """Return `some` of ``range(total)``, ascending; all of them without drawing."""
    if some >= total:
        return torch.arange(total)
    chosen = np.random.default_rng(seed).choice(total, size=some, replace=False)
    return torch.from_numpy(np.sort(chosen).astype(np.int64))


def _phases(outcome: Outcome) -> dict[str, float]:
    """Return seconds per phase; what clients measured inside a phase moves to ``evaluate``.

    Clients measure their models in the call that trained them. That call's wall-clock time is
    shared out as the clients' own clocks say.
    """
    seconds = dict.fromkeys(("fit", "fuse", "distil", "evaluate"), 0.0) | outcome.seconds
    phase = "distil" if seconds["distil"] else "fit"
    asked = [numbers for numbers in outcome.metrics.values() if "seconds_phase" in numbers]
    spent = sum(numbers["seconds_phase"] for numbers in asked)
    measuring = sum(numbers.get("seconds_evaluate", 0.0) for numbers in asked)
    moved = seconds[phase] * measuring / spent if spent else 0.0
    seconds[phase] -= moved
    seconds["evaluate"] += moved
    return seconds
