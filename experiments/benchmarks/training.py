"""Models and training as a person writes them down with torch: for the loop, bare Ray, the peers.

Samples, batches and first weights are those of fedkd: they come from the same random streams.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...rng import scoped, stream, torch_generator
from .works import WORKS


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


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 10)),
    "lenet5": _lenet,
}
BATCH, DISTIL_BATCH, LR = 32, 64, 0.05


def first_model(work: str, client: int) -> nn.Module:
    """Return a client's untrained model."""
    with scoped(stream(0, client, 0, "model")):
        return NETWORKS[WORKS[work].model]()


def order(client: int, number: int, phase: str, samples: int) -> Tensor:
    """Return the order in which a client sees its samples in a round."""
    return torch.randperm(samples, generator=torch_generator(stream(0, client, number, phase)))


def epoch(model: nn.Module, x: Tensor, rows: Sequence[Tensor], loss: Callable[..., Tensor]) -> None:
    """Train for an epoch; `loss` is called with logits and the rows of a batch."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    for batch in rows:
        optimizer.zero_grad()
        loss(model(x[batch]), batch).backward()
        optimizer.step()


def fit(model: nn.Module, x: Tensor, y: Tensor, rows: Tensor) -> None:
    """Train on private data for an epoch."""
    epoch(model, x, rows.split(BATCH), lambda logits, some: F.cross_entropy(logits, y[some]))


def distil(model: nn.Module, x: Tensor, teacher: Tensor, rows: Tensor) -> None:
    """Train on soft labels for an epoch."""

    def loss(logits: Tensor, some: Tensor) -> Tensor:
        return F.kl_div(logits.log_softmax(dim=1), teacher[some], reduction="batchmean")

    epoch(model, x, rows.split(DISTIL_BATCH), loss)


@torch.no_grad()
def predict(model: nn.Module, x: Tensor) -> Tensor:
    """Return a model's soft labels."""
    return model.eval()(x).softmax(dim=1)


@torch.no_grad()
def private_loss(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the mean cross-entropy on private data: equal for systems that do the same work."""
    return F.cross_entropy(model.eval()(x), y).item()
