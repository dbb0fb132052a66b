"""The rounds of a run, whatever the strategy and the engine."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from flwr.serverapp import Grid
from torch import Tensor

from ..callbacks import Callback, RoundRecord
from ..callbacks.base import Row
from ..codecs.compression import Compression
from ..config import RunConfig
from ..engine import BlockPool, Fleet
from ..engine.faults import Faults
from ..engine.system import VirtualClock
from ..knowledge.admission import Expected
from ..privacy.ledger import Ledger
from ..rundir import rejections
from ..rundir.checkpoint import Checkpoint, Keeper
from ..rundir.digest import Models
from ..score import spoken
from ..tasks import Task
from .drawing import drawn_cohort
from .hardest import hardest_of
from .keeping import Batches, Kept, final, fitting, restore, snapshots
from .measuring import Measurements, requests
from .plan import Outcome, RoundPlan
from .planning import Planner
from .protocol import Strategy
from .server import Server
from .spending import Spending
from .tables import client_rows, phase_seconds, round_row, troubled

log = logging.getLogger("fedkd")


class Loop:
    """Runs the rounds against a grid and reports them to the callbacks.

    Parameters
    ----------
    config : RunConfig
        The run's configuration.
    strategy : Strategy
        The server's side of the method.
    server : Server
        The server's own means.
    expect : callable
        ``(client, round, sample_ids) -> Expected``, what to accept from a client.
    callbacks : sequence of Callback
        Observers.
    models : Models
        Takes the final models.
    keeper : Keeper or None
        Writes checkpoints.
    resumed : Checkpoint or None
        Where to go on.
    compression : Compression or None
        What messages are made smaller with.
    ledger : Ledger or None
        What clients spend, where a mechanism has a formal guarantee.
    clock : VirtualClock or None
        What rounds take on the clients' devices.
    task : Task or None
        What samples mean; default classification.
    finishing : callable
        ``(client, round) -> Expected``, what to accept from a client after the last round.
    under_way : callable
        Called once the first of these rounds is done, or there is none to do.
    """

    def __init__(
        self,
        config: RunConfig,
        strategy: Strategy,
        server: Server,
        expect: Callable[[int, int, Tensor], Expected],
        callbacks: Sequence[Callback],
        *,
        models: Models,
        keeper: Keeper | None = None,
        resumed: Checkpoint | None = None,
        compression: Compression | None = None,
        ledger: Ledger | None = None,
        clock: VirtualClock | None = None,
        task: Task | None = None,
        finishing: Callable[[int, int], Expected | None] = lambda client, round_: None,
        under_way: Callable[[], None] = lambda: None,
    ) -> None:
        self.config, self.strategy, self.server = config, strategy, server
        self.callbacks = callbacks
        self.models, self.keeper, self.resumed = models, keeper, resumed
        self.compression, self.ledger, self.clock = compression, ledger, clock
        available = [device.availability for device in clock.devices] if clock else []
        self.faults = Faults(config.faults, config.seed, available)
        self.number = 0  # the round under way
        self.measured = Measurements(config.population, len(server.federation.corpus.y_test), task)
        self.hardest = hardest_of(config, server.federation, server.each)
        self.planner = Planner(config, server, expect, finishing, self.hardest)
        self.kept = Kept({})
        self.started: float | None = None
        self.under_way = under_way

    def run(self, grid: Grid, blocks: BlockPool) -> None:
        """Run all rounds and collect the final models."""
        fleet = Fleet(grid, self.config.population, self._progress, self.compression, self.clock)
        fleet.hello()
        done = self._begin(fleet)
        self.started = time.perf_counter()
        for number in range(done + 1, self.config.rounds + 1):
            self._round(number, fleet, blocks)
            self.under_way()
            self._keep(number, snapshots(fleet, number))
        if self.resumed and done == self.config.rounds:  # there was nothing left to do
            clients: Batches = self.resumed.clients
            if self.strategy.finishes:
                self._finish(done, fleet, blocks)
                standing = self.strategy.standing(self.server)  # as if they had been measured
                fleet.call("query.evaluate", requests(standing, standing, done, {}), done)
                clients = snapshots(fleet, done)
            self.under_way()
            deque(final(clients, self.models), maxlen=0)  # it writes as it is drained

    def _begin(self, fleet: Fleet) -> int:
        """Start the strategy, or put everything back as a checkpoint has it; return its round."""
        if self.resumed is None:
            self.strategy.start(fleet)
            return 0
        checkpoint = self.resumed
        restore(fleet, checkpoint, self.server, self.config)
        with fitting(self.config, checkpoint.round):
            self.strategy.resume(fleet, checkpoint.server)
        self.measured.load(checkpoint.measured)
        if self.clock is not None:
            self.clock.load(checkpoint.measured)
        if self.hardest is not None:
            self.hardest.load(checkpoint.measured)
        return checkpoint.round

    def _progress(self, phase: str, done: int, total: int) -> None:
        for callback in self.callbacks:
            callback.on_phase(self.number, phase, done, total)

    def _round(self, number: int, fleet: Fleet, blocks: BlockPool) -> None:
        spending = Spending(fleet, self.ledger, self.clock)
        last = number == self.config.rounds
        drawn = drawn_cohort(self.config, number)
        cohort = self.strategy.cohort(number, drawn, self.config.population)
        whole = last and self.keeper is None  # no more rounds can follow
        plan = self.planner.plan(number, cohort, fleet, blocks, whole)
        self.number = number
        fleet.begin(self.faults.of_round(plan.cohort, number))
        if self.clock is not None:
            self.clock.begin()
        outcome = self.strategy.round(plan)
        voted = self.hardest.vote(outcome.knowledge) if self.hardest else {}
        self.measured.stale |= outcome.changed
        seconds = phase_seconds(outcome)
        if plan.evaluate is not None:
            standing = self.strategy.standing(self.server)
            seconds["evaluate"] += self.measured.update(plan, outcome, standing)
        self.measured.note(outcome)
        spending.charge(plan, outcome)
        row = round_row(self.config, plan, outcome, self.measured, spending, seconds)
        row |= voted | outcome.scalars
        self.kept = Kept(self._saved())
        if last and (self.strategy.finishes or plan.evaluate != 0):
            self.kept.row = Row(row, client_rows(outcome, self.measured.diverged))
            row = self._last(plan, outcome, row, spending)
        self._report(number, row, outcome)

    def _saved(self) -> dict[str, Any]:
        """Return what a checkpoint has of what was measured so far."""
        state = self.measured.save() | (self.clock.save() if self.clock else {})
        return state | (self.hardest.save() if self.hardest else {})

    def _last(
        self, plan: RoundPlan, outcome: Outcome, row: dict[str, Any], spending: Spending
    ) -> dict[str, Any]:
        """End the last round: finish, and measure everybody on everything; return its new row."""
        ended = self._ended(plan, outcome) if self.strategy.finishes else Outcome()
        standing = self.strategy.standing(self.server)
        ended.seconds["evaluate"] = self.measured.complete(plan, outcome, standing)
        self.measured.note(outcome)
        row = row | self.measured.columns(True) | ended.scalars
        row |= spending.columns(outcome) | troubled(outcome, self.measured)
        for phase, value in ended.seconds.items():
            row[f"seconds_{phase}"] += value
            row["seconds"] += value
        return row

    def _ended(self, plan: RoundPlan, outcome: Outcome) -> Outcome:
        """Finish, once what a checkpoint has of the last round is safe; add to what came of it."""
        self.kept.server = self.strategy.save()
        if self.keeper is not None:
            self.kept.staged = self.keeper.stage(plan.number, snapshots(plan.fleet, plan.number))
        ended = self._finish(plan.number, plan.fleet, plan.blocks)
        outcome.rejected |= ended.rejected
        for client, numbers in ended.metrics.items():
            outcome.metrics[client] = numbers | outcome.metrics.get(client, {})
        return ended

    def _finish(self, number: int, fleet: Fleet, blocks: BlockPool) -> Outcome:
        """Have the strategy do what it does once, in a step of its own after the last round."""
        plan = self.planner.last(number + 1, fleet, blocks)
        fleet.begin(self.faults.of_round(plan.cohort, plan.number))
        outcome = self.strategy.finish(plan)
        self.measured.note(outcome)
        return outcome

    def _report(self, number: int, row: dict[str, Any], outcome: Outcome) -> None:
        diverged = sorted(self.measured.diverged)
        if diverged:
            log.warning("round %d: %s", number, spoken(diverged))
        for client, reason in sorted(outcome.rejected.items()):
            log.info(rejections.LINE, number, client, reason)
        record = RoundRecord(
            round=number,
            rounds=self.config.rounds,
            scalars=row,
            clients=client_rows(outcome, diverged),
            weights=outcome.weights,
            rejected=outcome.rejected,
            diverged=diverged,
            knowledge=outcome.knowledge,
            exchanged=outcome.exchanged,
        )
        for callback in self.callbacks:
            callback.on_round(record)

    def _keep(self, number: int, clients: Batches) -> None:
        """Write a checkpoint if one is due, and the models after the last round."""
        keeper = self.keeper if self.keeper and self.keeper.due(number) else None
        last = number == self.config.rounds
        passing = final(clients, self.models) if last else clients
        kept = self.kept
        if kept.staged is not None or (last and not keeper):
            deque(passing, maxlen=0)  # as above; a keeper drains it itself
        if keeper:
            server = self.strategy.save() if kept.server is None else kept.server
            spent = self.ledger.save() if self.ledger else {}
            checkpoint = Checkpoint(number, passing, server, kept.measured, spent, kept.row)
            keeper.keep(checkpoint, kept.staged)
