"""What a run would cost, for ``fedkd run --dry-run``: bytes, memory and a rough time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from ..clients.privacy.planning import participants
from ..codecs import Codec
from ..codecs.encoding import nbytes
from ..config import RunConfig
from ..data.federation import Federation
from ..engine.cluster import cores
from ..knowledge import kind_named
from ..models import deal, model_names
from ..rounds.timing import Cost, Workload, measure
from .objects import Objects
from .preparing import Prepared, prepare_run
from .securing import traffic

MESSAGE = 0.003
"""Seconds that one message to a client costs beside its training (as measured on two cores)."""


@dataclass(frozen=True)
class Plan:
    """The expected cost of a run; bytes are payload, without headers."""

    config: RunConfig
    cohort: int
    """clients of a round as a rule"""
    participations: int
    """fits of clients, in all rounds"""
    sizes: list[int]
    """training samples of each client"""
    trained: tuple[int, int]
    """samples of all clients that a fit is on, in the first and in the last round"""
    transfer: int
    """transfer samples of each round"""
    bytes_up: int
    """per client and round"""
    bytes_down: int
    """per client and round"""
    bytes_models: int
    bytes_data: int
    bytes_knowledge: int
    """one round's uploads and teachers at the server"""
    seconds: float
    """all rounds, without start-up"""
    workers: int
    architectures: dict[str, Cost]
    epsilon: float | None = None
    """what the client who spends most will have spent, by mechanisms with a formal guarantee"""
    notes: Sequence[str] = ()
    """what is worth saying of the data"""

    def show(self, console: Console) -> None:
        """Print the plan."""
        config, sizes = self.config, self.sizes
        table = Table.grid(padding=(0, 2))
        up, down = self.cohort * self.bytes_up, self.cohort * self.bytes_down
        both = self.participations * (self.bytes_up + self.bytes_down)
        table.add_row("clients", f"{self.cohort} of {config.population} a round")
        table.add_row("samples", f"{min(sizes)} to {max(sizes)} a client, {self.transfer} transfer")
        if (first := self.trained[0]) < sum(sizes):
            table.add_row("trained on", f"{first:,} of them at first, {self.trained[1]:,} at last")
        for name, cost in self.architectures.items():
            table.add_row("model", f"{name}: {cost.parameters:,} parameters")
        table.add_row("a round", f"{decimal(up)} up, {decimal(down)} down")
        table.add_row(f"{config.rounds} rounds", f"{decimal(both)} up and down")
        table.add_row(
            "memory",
            f"{decimal(self.bytes_models)} models, {decimal(self.bytes_data)} data, "
            f"{decimal(self.bytes_knowledge)} knowledge",
        )
        if self.epsilon is not None:
            table.add_row("privacy", f"epsilon {self.epsilon:.3g} for who spends most")
        threads = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        table.add_row("time", f"about {_duration(self.seconds)} on {threads}")
        console.print(f"[bold]{config.strategy['name']} on {config.data.name}[/]: dry run")
        console.print(table)
        for note in self.notes:
            console.print(escape(note), soft_wrap=True)
        console.print("Rough: a training step timed here, times their number, without start-up.")


def plan(config: RunConfig) -> Plan:
    """Return what a run of `config` would cost; nothing is trained and no run directory made.

    Everything is checked and prepared as for the run itself, so most mistakes show here.

    Raises
    ------
    ConfigError
        If the run could not start.
    """
    with TemporaryDirectory() as scratch:
        ready = prepare_run(config, Path(scratch), Objects())
        return _estimate(ready)


def _estimate(ready: Prepared) -> Plan:
    config, federation, strategy = ready.config, ready.federation, ready.strategy
    specs = deal(config.model, config.population)
    names = model_names(specs)
    kinds = dict(zip(names, specs, strict=True))
    about = federation.shape, ready.outputs, config.fit.batch_size
    costs = {name: measure(spec, *about) for name, spec in kinds.items()}
    transfer = config.transfer.per_round or federation.transfer_size
    up, down, plain = _payload(ready, transfer)
    numbers, drawn = range(1, config.rounds + 1), list(range(config.cohort))
    cohorts = [len(strategy.cohort(number, drawn, config.population)) for number in numbers]
    loads = [strategy.workloads(number, ready.sizes) for number in numbers]
    workers = 1 if config.engine.name == "inline" else config.engine.actors or cores()
    each = [costs[name] for name in names]
    beside = {load.beside for load in loads[0]} - {None}
    steps = {spec: measure(spec, *about).step for spec in beside} | {None: 0.0}
    return Plan(
        config=config,
        cohort=config.cohort,
        participations=sum(cohorts),
        sizes=ready.server.sizes,
        trained=(_samples(loads[0]), _samples(loads[-1])),
        transfer=transfer,
        bytes_up=up,
        bytes_down=down,
        bytes_models=sum(4 * cost.parameters for cost in each),
        bytes_data=_bytes_data(federation),
        bytes_knowledge=(1 + strategy.offered) * config.cohort * plain,
        seconds=sum(
            _seconds(ready, each, load, transfer, steps) * cohort / min(workers, cores(), cohort)
            for load, cohort in zip(loads, cohorts, strict=True)
        ),
        workers=workers,
        architectures=costs,
        epsilon=_spent(ready),
        notes=[*ready.notes, *_last(ready)],
    )


def _bytes_data(federation: Federation) -> int:
    """Return the bytes of all samples, and of the views of transfer samples, as float32."""
    viewed = (federation.versions - 1) * federation.transfer_size * prod(federation.shape)
    return int(federation.corpus.x_train.nbytes + federation.corpus.x_test.nbytes) + 4 * viewed


def _last(ready: Prepared) -> list[str]:
    """Say what clients upload once, after the last round."""
    asked = [ready.finishing(client, 0) for client in range(ready.config.population)]
    up = sum(one.nbytes for one in asked if one is not None)
    return [f"After the last round: up to {decimal(up)} up, once."] if up else []


def _samples(loads: list[Workload]) -> int:
    return sum(load.samples for load in loads)


def _payload(ready: Prepared, transfer: int) -> tuple[int, int, int]:
    """Return the mean bytes that a client uploads and gets back in a round, and uploads as float32.

    The first two are as they travel, encoded or masked where that is asked for.
    """
    if ready.strategy.exchange is None:
        return 0, 0, 0
    ids, kind = torch.arange(transfer * ready.server.each), ready.parts.exchange.kind
    expected = [ready.expect(client, 1, ids) for client in range(ready.config.population)]
    extra = sum(4 * sum(map(prod, one.extras.values())) for one in expected) // len(expected)
    ups = [one.shape for one in expected]
    sent, downs = ready.strategy.lesson_kind or kind, ups
    if sent != kind:  # the server's model, see `Strategy.lesson_kind`
        downs = [ready.parts.exchange.returned(model) for model in ready.server.instances]
    downs = [(ready.strategy.offered * rows, *rest) for rows, *rest in downs]
    plain, codec = _mean_bytes(None, kind, ups), ready.parts.codec
    up = _mean_bytes(codec if codec.up else None, kind, ups) + extra
    down = _mean_bytes(codec.downward() if codec.down else None, sent, downs)
    down += 4 * ready.strategy.beside_size(ready.config.cohort, expected[0])
    if ready.config.secure.aggregation:
        about = ready.expect(0, 1, ids), ready.server.instances[0]
        up, more = traffic(ready.config, ready.strategy, *about)
        down += more
    return up, down + _named(ready, transfer, kind, sent), plain


def _named(ready: Prepared, transfer: int, *kinds: str) -> int:
    """Return the bytes of the ids by which a client is told the samples of a fit and of a lesson.

    They travel where a round has other samples than the last: drawn anew, or views of them.
    """
    config, size = ready.config.transfer, ready.federation.transfer_size
    if not config.hard and transfer == size:
        return 0
    return 4 * transfer * ready.server.each * sum(kind_named(kind).on_samples for kind in kinds)


def _spent(ready: Prepared) -> float | None:
    """Return the largest epsilon of the whole run, if there is a formal guarantee."""
    if ready.ledger is None:
        return None
    planned = ready.ledger.copy()
    for clients in participants(ready.config, ready.strategy):
        planned.charge(clients)
    return planned.worst()[0]


def _mean_bytes(codec: Codec | None, kind: str, shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the mean payload of arrays of these shapes; without a codec as float32."""
    sizes = {
        shape: kind_named(kind).bytes(shape) if codec is None else nbytes(codec, kind, shape)
        for shape in set(shapes)
    }
    return sum(sizes[shape] for shape in shapes) // len(shapes)


def _seconds(
    ready: Prepared,
    costs: list[Cost],
    loads: list[Workload],
    transfer: int,
    steps: Mapping[Any, float],
) -> float:
    """Return the seconds of one client's round, mean over clients.

    `steps` are those of a training step of each model that is trained beside a client's.
    """
    config, tests = ready.config, ready.federation.tests
    own = 0.0 if tests is None else float(tests.mean())
    tested = _tested(config, len(ready.federation.corpus.y_test), own)
    exchanges = ready.strategy.exchange is not None
    labelled = transfer if exchanges and kind_named(ready.parts.exchange.kind).on_samples else 0
    measured = _evaluations(config) / config.rounds
    return mean(
        _work(config, cost, load, labelled, steps[load.beside], ready.strategy.offered)
        + cost.predict * tested
        + cost.step * measured * load.tuning * ceil(load.samples / config.fit.batch_size)
        for cost, load in zip(costs, loads, strict=True)
    )


def _evaluations(config: RunConfig) -> int:
    """Return in how many rounds clients are measured; the last is one of them always."""
    return 1 + sum(config.evaluate.due(number) for number in range(1, config.rounds))


def _tested(config: RunConfig, test: int, own: float) -> float:
    """Return the test samples of one client's round, mean over rounds; the last takes all.

    Those of its own are taken each time.
    """
    due = _evaluations(config)
    return ((due - 1) * (config.evaluate.subset(test) or test) + test + due * own) / config.rounds


def _work(
    config: RunConfig, cost: Cost, load: Workload, transfer: int, beside: float, teachers: int
) -> float:
    """Return the seconds of one client's round: fit, label the transfer samples, distil."""
    batch = config.fit.batch_size
    step = load.steps * cost.step + beside + load.passes * batch * cost.predict
    fit = config.fit.epochs * ceil(load.samples / batch) * step
    distil = teachers * config.distil.epochs * transfer / batch * cost.step
    phases = 1 if transfer == 0 else 2
    labelled = transfer * (1 + (config.guard["name"] != "none"))  # a guard looks at them, too
    return fit + distil + labelled * cost.predict + phases * MESSAGE


def _duration(seconds: float) -> str:
    """Return seconds as people say them.

    Examples
    --------
    >>> _duration(0.4), _duration(75), _duration(9000)
    ('1 second', '75 seconds', '2.5 hours')
    """
    if seconds < 120:
        whole = max(1, round(seconds))
        return f"{whole} second{'s' * (whole > 1)}"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
