"""The floor: the works as a plain sequential torch loop on one thread.

It is what a person would write down without any framework. The samples, the batches and the first
weights are those of fedkd (they come from the same random streams), so that a test can compare the
trained models number by number; there are no messages, no checks and no tables.
"""

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ...rng import scoped, stream, torch_generator
from .works import WORKS, Job

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 10)),
}


class Loop(ABC):
    """A work; `models` are what the clients have after a round.

    Parameters
    ----------
    job : Job
        The job; its tensors are read into memory.
    """

    def __init__(self, job: Job) -> None:
        tensors = {name: tensor.clone() for name, tensor in load_file(job.tensors).items()}
        self.clients = range(job.sizes.clients)
        self.private = [(tensors[f"x{k}"], tensors[f"y{k}"]) for k in self.clients]
        self.transfer = tensors["transfer"]
        self.steps = 0
        self.network = NETWORKS[WORKS[job.work].model]

    def first(self, client: int) -> nn.Module:
        """Return a client's untrained model."""
        with scoped(stream(0, client, 0, "model")):
            return self.network()

    def epoch(
        self, model: nn.Module, x: Tensor, size: int, seed: int, loss: Callable[..., Tensor]
    ) -> None:
        """Train for one shuffled epoch; `loss` is called with logits and rows."""
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for rows in torch.randperm(len(x), generator=torch_generator(seed)).split(size):
            optimizer.zero_grad()
            loss(model(x[rows]), rows).backward()
            optimizer.step()
            self.steps += 1

    def fit(self, model: nn.Module, client: int, seed: int) -> None:
        """Train on a client's private data."""
        x, y = self.private[client]
        self.epoch(model, x, 32, seed, lambda logits, rows: F.cross_entropy(logits, y[rows]))

    @abstractmethod
    def round(self, number: int) -> None:
        """Run round `number`, from 1."""

    @property
    @abstractmethod
    def models(self) -> list[nn.Module]:
        """Each client's model."""


class Averaging(Loop):
    """FedAvg: every client starts from the mean of the parameters; all have the same weight."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.model = self.first(0)
        self.mean = copy.deepcopy(self.model.state_dict())

    def round(self, number: int) -> None:
        """Train one client after the other and take the mean."""
        total = {name: torch.zeros_like(value) for name, value in self.mean.items()}
        for client in self.clients:
            self.model.load_state_dict(self.mean)
            self.fit(self.model, client, stream(0, client, number, "train"))
            for name, value in self.model.state_dict().items():
                total[name] += value / len(self.clients)
        self.mean = total

    @property
    def models(self) -> list[nn.Module]:
        """The mean, for everyone."""
        self.model.load_state_dict(self.mean)
        return [self.model] * len(self.clients)


class Knowledge(Loop):
    """FedMD on soft labels: every client learns from the mean of the predictions."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._models = [self.first(client) for client in self.clients]

    def round(self, number: int) -> None:
        """Train and predict, take the mean, distil."""
        answers = []
        for client, model in enumerate(self._models):
            self.fit(model, client, stream(0, client, number, "fit"))
            answers.append(self.predict(model))
        teacher = torch.stack(answers).mean(dim=0)

        def loss(logits: Tensor, rows: Tensor) -> Tensor:
            return F.kl_div(logits.log_softmax(dim=1), teacher[rows], reduction="batchmean")

        for client, model in enumerate(self._models):
            self.epoch(model, self.transfer, 64, stream(0, client, number, "distil"), loss)

    @torch.no_grad()
    def predict(self, model: nn.Module) -> Tensor:
        """Return a model's soft labels on the transfer set."""
        return model.eval()(self.transfer).softmax(dim=1)

    @property
    def models(self) -> list[nn.Module]:
        """The models, which persist."""
        return self._models


LOOPS: dict[str, type[Loop]] = {"W1": Averaging, "W3": Knowledge}


def run(job: Job) -> dict[str, Any]:
    """Run one round and then the steady ones; see ``ours.run`` for what is returned."""
    torch.set_num_threads(1)
    loop = LOOPS[job.work](job)
    began, ends = time.monotonic(), []
    for number in range(1, job.sizes.rounds + 2):
        loop.round(number)
        ends.append(time.monotonic())
    return {"began": began, "ends": ends, "phases": {}}
