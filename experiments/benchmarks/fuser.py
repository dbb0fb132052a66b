"""Run one round in which nobody trains: what is left is the server's work with knowledge."""

import time
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from ...check.strategies.costs import peak
from ...config import EngineConfig
from ...engine import BlockPool, Fleet, engine_class
from ...knowledge import Knowledge, Target, to_record
from ...knowledge.admission import Expected
from ...plugins.table import SEAMS
from ...rounds.protocol import RoundPlan
from ...rounds.server import Server
from ...strategies import FusionStrategy
from .works import METHODS, Job


def run(job: Job) -> dict[str, Any]:
    """Run a job: a whole round, from the request for knowledge to the last teacher's arrival.

    Returns
    -------
    dict
        ``seconds`` of the phases (``fit`` is drawing, sending and admitting soft labels; ``fuse``;
        ``distil`` is packing, sending and unpacking teachers; ``fuse_cpu`` is what this
        process computed in ``fuse``), and of this process the ``peak`` memory and what it had
        ``before`` the round, in bytes.
    """
    name, parameters = METHODS[job.work]
    strategy: FusionStrategy = SEAMS["strategies"].resolve(name)(**parameters)
    used = _timed(strategy)
    told: dict[str, Any] = {}

    def main(grid: Grid, blocks: BlockPool) -> None:
        fleet = Fleet(grid, job.size["clients"])
        fleet.hello()
        told["before"] = peak()
        outcome = strategy.round(_plan(job, fleet, blocks))
        if outcome.rejected:
            raise RuntimeError(next(iter(outcome.rejected.values())))
        seconds = {**outcome.seconds, "fuse_cpu": used[0]}
        told.update(seconds=seconds, peak=peak(), ends=[time.monotonic()])

    engine = engine_class("inline" if job.actors is None else "ray")
    make = partial(app, job.size["samples"], job.size["classes"])
    engine(
        lambda processes: make(), [1] * job.size["clients"], EngineConfig(actors=job.actors)
    ).run(main)
    return told


def _timed(strategy: FusionStrategy) -> list[float]:
    """Return a list that gets the CPU seconds of every fusion."""
    used: list[float] = []
    teach = strategy.teach

    def timed(*given: Any) -> Any:
        began = time.process_time()
        found = teach(*given)
        used.append(time.process_time() - began)
        return found

    strategy.teach = timed  # type: ignore[assignment, method-assign]
    return used


def _plan(job: Job, fleet: Fleet, blocks: BlockPool) -> RoundPlan:
    clients, samples, classes = (job.size[name] for name in ("clients", "samples", "classes"))
    ids = torch.arange(samples)
    return RoundPlan(
        number=1,
        cohort=list(range(clients)),
        fleet=fleet,
        blocks=blocks,
        classes=classes,
        temperature=1.0,
        sample_ids=ids,
        all_samples=True,
        evaluate=None,
        seed=0,
        expect=lambda client, _: Expected(client, 1, "soft_labels", ids, (samples, classes)),
        server=cast(Server, SimpleNamespace(clients=clients, classes=classes)),
    )


def app(samples: int, classes: int) -> ClientApp:
    """Return an app that makes soft labels up, and unpacks the teacher that it is sent."""
    made = ClientApp()

    @made.query("hello")
    def hello(message: Message, context: Context) -> Message:
        about = ConfigRecord({"client": int(context.node_config["partition-id"])})
        return Message(RecordDict({"about": about}), reply_to=message)

    @made.train("fit")
    def fit(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        labels = soft_labels(client, samples, classes)
        knowledge = Knowledge(client, "soft_labels", labels, torch.arange(samples))
        return Message(to_record(knowledge, 1, {}), reply_to=message)

    @made.train("distil")
    def distil(message: Message, context: Context) -> Message:
        del context
        target = Target.read(message.content.array_records["teacher"], "soft_labels")
        metrics = MetricRecord({"confidence": target.values.amax(dim=-1).mean().item()})
        about = ConfigRecord({"round": 1})
        return Message(RecordDict({"metrics": metrics, "about": about}), reply_to=message)

    return made


def soft_labels(client: int, samples: int, classes: int) -> torch.Tensor:
    """Return what a client might upload: every client has classes that it likes better.

    Examples
    --------
    >>> soft_labels(3, 5, 10).shape
    torch.Size([5, 10])
    """
    generator = torch.Generator().manual_seed(client)
    taste = torch.randn(classes, generator=generator)
    logits = torch.randn(samples, classes, generator=generator).mul_(2).add_(taste)
    return logits.softmax(dim=-1)
