"""What a run would cost, for ``fedkd run --dry-run``: bytes, memory and a rough time."""

from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from .clients.privacy.planning import participants
from .config import RunConfig
from .encoding import nbytes
from .engine.cluster import cores
from .knowledge import ON_SAMPLES
from .models import deal, model_name
from .preparing import Objects, Prepared, prepare_run
from .timing import Cost, measure

MESSAGE = 0.003
"""Seconds that one message to a client costs beside its training (as measured on two cores)."""


@dataclass(frozen=True)
class Plan:
    """The expected cost of a run; bytes are payload, without headers."""

    config: RunConfig
    cohort: int
    """clients of each round"""
    sizes: list[int]
    """training samples of each client"""
    transfer: int
    """transfer samples of each round"""
    bytes_up: int
    """per round"""
    bytes_down: int
    """per round"""
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

    def show(self, console: Console) -> None:
        """Print the plan."""
        config, sizes = self.config, self.sizes
        table = Table.grid(padding=(0, 2))
        up, down, both = self.bytes_up, self.bytes_down, self.bytes_up + self.bytes_down
        table.add_row("clients", f"{self.cohort} of {config.clients} a round")
        table.add_row("samples", f"{min(sizes)} to {max(sizes)} a client, {self.transfer} transfer")
        for name, cost in self.architectures.items():
            table.add_row("model", f"{name}: {cost.parameters:,} parameters")
        table.add_row("a round", f"{decimal(up)} up, {decimal(down)} down")
        table.add_row(f"{config.rounds} rounds", f"{decimal(both * config.rounds)} up and down")
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
    config, federation = ready.config, ready.federation
    specs = deal(config.model, config.clients)
    names = [model_name(spec) for spec in specs]
    kinds = dict(zip(names, specs, strict=True))
    about = federation.shape, federation.classes, config.fit.batch_size
    costs = {name: measure(spec, *about) for name, spec in kinds.items()}
    sizes = [len(federation.indices(client)) for client in range(config.clients)]
    tested = (config.evaluate.samples or len(federation.corpus.y_test)) / config.evaluate.every
    transfer = config.transfer.per_round or federation.transfer_size
    models = sum(4 * costs[name].parameters for name in names)
    plain, payload = _payload(ready, transfer)
    cohort = config.cohort
    exchanges = ready.strategy.exchange is not None
    labelled = transfer if exchanges and ready.parts.exchange.kind in ON_SAMPLES else 0
    work = mean(
        _work(config, costs[name], size, labelled) + costs[name].predict * tested
        for name, size in zip(names, sizes, strict=True)
    )
    workers = 1 if config.engine.name == "inline" else config.engine.actors or cores()
    return Plan(
        config=config,
        cohort=cohort,
        sizes=sizes,
        transfer=transfer,
        bytes_up=cohort * (payload if ready.parts.codec.up else plain),
        bytes_down=cohort * (payload if ready.parts.codec.down else plain),
        bytes_models=models,
        bytes_data=int(federation.corpus.x_train.nbytes + federation.corpus.x_test.nbytes),
        bytes_knowledge=2 * cohort * plain,
        seconds=work * cohort * config.rounds / min(workers, cores(), cohort),
        workers=workers,
        architectures=costs,
        epsilon=_spent(ready),
    )


def _payload(ready: Prepared, transfer: int) -> tuple[int, int]:
    """Return the bytes that one client uploads, and gets back, in a round: float32, encoded."""
    if ready.strategy.exchange is None:
        return 0, 0
    ids, codec, kind = torch.arange(transfer), ready.parts.codec, ready.parts.exchange.kind
    shapes = [ready.expect(client, 1, ids).shape for client in range(ready.config.clients)]
    sizes = {shape: nbytes(codec, kind, shape) for shape in set(shapes)}
    plain, small = 4 * sum(map(prod, shapes)), sum(sizes[shape] for shape in shapes)
    return plain // len(shapes), small // len(shapes)


def _spent(ready: Prepared) -> float | None:
    """Return the largest epsilon of the whole run, if there is a formal guarantee."""
    if ready.ledger is None:
        return None
    planned = ready.ledger.copy()
    for clients in participants(ready.config, ready.strategy):
        planned.charge(clients)
    return planned.worst()[0]


def _work(config: RunConfig, cost: Cost, samples: int, transfer: int) -> float:
    """Return the seconds of one client's round: fit, label the transfer samples, distil."""
    fit = config.fit.epochs * ceil(samples / config.fit.batch_size)
    distil = config.distil.epochs * transfer / config.fit.batch_size
    phases = 1 if transfer == 0 else 2
    return (fit + distil) * cost.step + transfer * cost.predict + phases * MESSAGE


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
