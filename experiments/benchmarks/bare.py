"""The yardstick for start-up and memory: the works on bare Ray actors.

It is what a person writes with Ray alone: an actor per core that holds its share of the clients,
one call per actor and phase, sums of arrays on the way back, the mean in the driver. Samples,
batches and first weights are the loop's. Nothing is checked and nothing survives a fault.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from ...engine.cluster import cores
from ...environment import set_defaults
from .stopwatch import Stopwatch
from .training import distil, first_model, fit, order, predict, private_loss
from .works import WORKS, Job

Floats = npt.NDArray[np.float32]


class Worker:
    """The clients of one actor.

    Parameters
    ----------
    job : Job
        The job.
    clients : sequence of int
        Which clients.
    """

    def __init__(self, job: Job, clients: Sequence[int]) -> None:
        torch.set_num_threads(1)
        self.job, self.clients = job, clients
        if WORKS[job.work].messages:
            return
        with safe_open(job.tensors, "pt") as tensors:  # memory-mapped, its own clients only
            read = tensors.get_tensor
            self.private = {k: (read(f"x{k}"), read(f"y{k}")) for k in clients}
            self.transfer = read("transfer")
        owners = [0] if job.work in AVERAGED else clients
        self.models = {k: first_model(job.work, k) for k in owners}

    def ready(self) -> None:
        """Return when the actor is up."""

    def average(self, number: int, mean: dict[str, Floats]) -> dict[str, Floats]:
        """Train from the mean, one client after the other; return the sum of the parameters."""
        model = self.models[0]
        start = {name: torch.from_numpy(np.array(value)) for name, value in mean.items()}
        total = {name: torch.zeros_like(value) for name, value in start.items()}
        for client in self.clients:
            model.load_state_dict(start)
            x, y = self.private[client]
            fit(model, x, y, order(client, number, "fit", len(x)))
            for name, value in model.state_dict().items():
                total[name] += value
        return {name: value.numpy() for name, value in total.items()}

    def label(self, number: int) -> Floats:
        """Train every client; return the sum of their soft labels."""
        total = torch.zeros(len(self.transfer), 10)
        for client in self.clients:
            x, y = self.private[client]
            fit(self.models[client], x, y, order(client, number, "fit", len(x)))
            total += predict(self.models[client], self.transfer)
        return total.numpy()

    def learn(self, number: int, teacher: Floats) -> None:
        """Distil into every client."""
        values = torch.from_numpy(np.array(teacher))
        for client in self.clients:
            rows = order(client, number, "distil", len(self.transfer))
            distil(self.models[client], self.transfer, values, rows)

    def nothing(self) -> Floats:
        """Return every client's soft labels, one array for all of them."""
        return np.full((len(self.clients), self.job.sizes.transfer, 10), 0.1, np.float32)

    def state(self, client: int) -> dict[str, Floats]:
        """Return the parameters of a client's own model."""
        return {name: value.numpy() for name, value in self.models[client].state_dict().items()}


class Driver:
    """Runs the rounds.

    Parameters
    ----------
    job : Job
        The job.
    count : int
        Actors.
    """

    def __init__(self, job: Job, count: int) -> None:
        import ray

        self.job, self.get = job, ray.get
        self.put = ray.put
        actor: Any = ray.remote(num_cpus=1)(Worker)
        everyone = range(job.sizes.clients)
        self.shares = [everyone[start::count] for start in range(count)]
        self.workers: list[Any] = [actor.remote(job, share) for share in self.shares]
        if job.work in AVERAGED:
            first = first_model(job.work, 0).state_dict()
            self.mean = {name: value.numpy() for name, value in first.items()}
        self.get([worker.ready.remote() for worker in self.workers])
        self.seconds = 0.0

    def round(self, number: int) -> None:
        """Run round `number`, from 1."""
        clients = self.job.sizes.clients
        if self.job.work in AVERAGED:
            mean = self.put(self.mean)
            sums = self.get([worker.average.remote(number, mean) for worker in self.workers])
            self.mean = {name: sum(one[name] for one in sums) / clients for name in self.mean}
        elif WORKS[self.job.work].messages:
            started = monotonic()
            answers = self.get([worker.nothing.remote() for worker in self.workers])
            stacked = np.concatenate(answers)
            self.seconds = monotonic() - started
            stacked.mean(axis=0)
        else:
            labels = self.get([worker.label.remote(number) for worker in self.workers])
            teacher = self.put(np.sum(labels, axis=0) / np.float32(clients))
            self.get([worker.learn.remote(number, teacher) for worker in self.workers])

    def state(self, client: int) -> dict[str, Floats]:
        """Return the parameters of a client's model."""
        if self.job.work in AVERAGED:
            return self.mean
        worker = next(i for i, share in enumerate(self.shares) if client in share)
        return dict(self.get(self.workers[worker].state.remote(client)))


AVERAGED = ("W1", "W2")


@contextmanager
def _ray(count: int) -> Iterator[None]:
    """Start Ray with the settings that fedkd starts it with."""
    set_defaults()
    import ray

    ray.init(
        num_cpus=count, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    try:
        yield
    finally:
        ray.shutdown()


def run(job: Job) -> dict[str, Any]:
    """Run one round and then the steady ones; see ``ours.run`` for what is returned."""
    count = job.actors or cores()
    with _ray(count):
        driver = Driver(job, count)
        watch, seconds = Stopwatch(job.sizes.rounds), []
        for number in range(1, job.sizes.rounds + 2):
            driver.round(number)
            watch.lap()
            seconds.append(driver.seconds)
        if WORKS[job.work].messages:
            return watch.told(phases={"fit": median(seconds[1:])})
        with safe_open(job.tensors, "pt") as tensors:
            private = tensors.get_tensor("x0"), tensors.get_tensor("y0")
        model = first_model(job.work, 0)
        model.load_state_dict(
            {name: torch.from_numpy(np.array(value)) for name, value in driver.state(0).items()}
        )
        return watch.told(loss=private_loss(model, *private))
