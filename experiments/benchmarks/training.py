"""Models and training as a person writes them down with torch: for the loop, bare Ray, the peers.

Samples, batches and first weights are those of fedkd: they come from the same random streams.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...rng import scoped, stream, torch_generator
from .works import DISTIL, FIT, WORKS


def _lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def _resnet() -> nn.Module:
    from ...models.resnet8 import ResNet8  # plain torch; peers do without it

    return ResNet8((1, 28, 28), 10)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 10)),
    "lenet5": _lenet,
    "resnet8": _resnet,
}
BATCH, DISTIL_BATCH, LR = FIT["batch_size"], DISTIL["batch_size"], FIT["lr"]
PREDICT_BATCH = 256
"""Samples a forward pass without gradients."""


def first_model(work: str, client: int) -> nn.Module:
    """Return a client's untrained model."""
    with scoped(stream(0, client, 0, "model")):
        return NETWORKS[WORKS[work].model]()


def order(client: int, number: int, phase: str, samples: int, epochs: int = 1) -> Tensor:
    """Return the order in which a client sees its samples in a round, epoch after epoch."""
    generator = torch_generator(stream(0, client, number, phase))
    return torch.cat([torch.randperm(samples, generator=generator) for _ in range(epochs)])


def train(
    model: nn.Module,
    x: Tensor,
    rows: Tensor,
    loss: Callable[..., Tensor],
    settings: Mapping[str, Any],
) -> None:
    """Train for some epochs; `loss` is called with logits and the rows of a batch."""
    model.train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=settings["lr"], momentum=settings["momentum"]
    )
    for epoch in rows.split(len(x)):
        for batch in epoch.split(settings["batch_size"]):
            optimizer.zero_grad()
            loss(model(x[batch]), batch).backward()
            optimizer.step()


def fit(
    model: nn.Module, x: Tensor, y: Tensor, rows: Tensor, settings: Mapping[str, Any] = FIT
) -> None:
    """Train on private data."""
    train(model, x, rows, lambda logits, some: F.cross_entropy(logits, y[some]), settings)


def distil(
    model: nn.Module,
    x: Tensor,
    teacher: Tensor,
    rows: Tensor,
    settings: Mapping[str, Any] = FIT | DISTIL,
) -> None:
    """Train on soft labels."""

    def loss(logits: Tensor, some: Tensor) -> Tensor:
        return F.kl_div(logits.log_softmax(dim=1), teacher[some], reduction="batchmean")

    train(model, x, rows, loss, settings)


@torch.no_grad()
def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Return a model's soft labels."""
    return _logits(model, x).softmax(dim=1)


@torch.no_grad()
def hits(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return which test samples a model gets right."""
    return _logits(model, x).argmax(dim=1) == y


@torch.no_grad()
def private_loss(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the mean cross-entropy on private data: equal for systems that do the same work."""
    return F.cross_entropy(_logits(model, x), y).item()


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    model.eval()
    return torch.cat([model(part) for part in x.split(PREDICT_BATCH)])
