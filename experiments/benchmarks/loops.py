"""The plain loops of the works whose rounds are measured; see ``floor.py``."""

import copy
import time
from abc import ABC, abstractmethod

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .training import distil, first_model, fit, order, predict
from .works import Job

State = dict[str, Tensor]


class Loop(ABC):
    """A work; `models` are what the clients have after a round.

    Parameters
    ----------
    job : Job
        The job; its tensors are read into memory, the device's own if it has one.
    """

    def __init__(self, job: Job) -> None:
        read = load_file(job.tensors).items()
        tensors = {name: tensor.clone().to(job.device) for name, tensor in read}
        self.device = job.device
        self.work, self.clients = job.work, range(job.sizes.clients)
        self.private = [(tensors[f"x{k}"], tensors[f"y{k}"]) for k in self.clients]
        self.transfer, self.tensors = tensors["transfer"], tensors

    def order(self, client: int, number: int, phase: str, x: Tensor) -> Tensor:
        """Return the order in which a client sees its samples, where they are."""
        return order(client, number, phase, len(x)).to(self.device)

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
        self.model = first_model(job.work, 0).to(job.device)
        self.mean: State = copy.deepcopy(self.model.state_dict())

    def round(self, number: int) -> None:
        """Train one client after the other and take the mean."""
        total = {name: torch.zeros_like(value) for name, value in self.mean.items()}
        for client, (x, y) in enumerate(self.private):
            self.model.load_state_dict(self.mean)
            fit(self.model, x, y, self.order(client, number, "fit", x))
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
        self._models = [first_model(job.work, client).to(job.device) for client in self.clients]

    def round(self, number: int) -> None:
        """Train and predict, take the mean, distil."""
        answers = []
        for client, model in enumerate(self._models):
            x, y = self.private[client]
            fit(model, x, y, self.order(client, number, "fit", x))
            answers.append(predict(model, self.transfer))
        teacher = torch.stack(answers).mean(dim=0)
        for client, model in enumerate(self._models):
            rows = self.order(client, number, "distil", self.transfer)
            distil(model, self.transfer, teacher, rows)

    @property
    def models(self) -> list[nn.Module]:
        """The models, which persist."""
        return self._models


class Nothing(Loop):
    """Soft labels that are copied once, and their mean; models that nobody trains."""

    def __init__(self, job: Job) -> None:
        self.job, self.seconds = job, 0.0
        self.labels = torch.full((job.sizes.transfer, 10), 0.1)

    def round(self, number: int) -> None:
        """Copy what every client would send, and take the mean."""
        started = time.monotonic()
        answers = torch.stack([self.labels] * self.job.sizes.clients)
        self.seconds = time.monotonic() - started
        answers.mean(dim=0)

    @property
    def models(self) -> list[nn.Module]:
        """The first models."""
        return [first_model(self.job.work, client) for client in range(self.job.sizes.clients)]
