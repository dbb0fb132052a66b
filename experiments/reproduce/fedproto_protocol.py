"""FedProto's MNIST experiment: who holds which pictures, the network, and how it is measured.

Tan et al., "FedProto: Federated Prototype Learning across Heterogeneous Clients", AAAI 2022, arXiv
2105.00243, and their code. Confidence: certain for what is counted here, but for the random numbers
that choose classes: ours are another generator's.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...data import prepare
from ...models.features import features_of

CLIENTS, CLASSES, SEED = 20, 10, 1234
APART, TESTED = 110, 40
"""Positions in a class from one client's first training picture to the next one's; test pictures of
a class that a client is measured on."""

MEAN, DEVIATION = 0.1307, 0.3081

Arrays = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]
"""A client's ``(x, y, x_test, y_test)``."""


def held(ways: int, clients: int = CLIENTS) -> list[tuple[list[int], int]]:
    """Return each client's classes, and how many pictures of each it has: 99 or 100.

    A client has between ``max(2, ways - 2)`` and ``ways + 2`` classes, drawn without replacement.

    Examples
    --------
    >>> sorted({len(classes) for classes, _ in held(3)}), sorted({shots for _, shots in held(3)})
    ([2, 3, 4, 5], [99, 100])
    """
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(clients):
        count = rng.integers(max(2, ways - 2), min(CLASSES, ways + 2), endpoint=True)
        classes = sorted(rng.choice(CLASSES, count, replace=False).tolist())
        found.append((classes, int(rng.integers(99, 100, endpoint=True))))
    return found


def rows(
    labels: NDArray[np.int64], classes: Sequence[int], first: int, count: int
) -> NDArray[np.int64]:
    """Return the places in a data set of ``count`` pictures of each class, the first left out.

    Examples
    --------
    >>> rows(np.array([1, 0, 1, 0, 1]), [0, 1], first=1, count=1).tolist()
    [3, 2]
    """
    each = [np.flatnonzero(labels == one)[first : first + count] for one in classes]
    return np.concatenate(each)


def clients(ways: int, count: int = CLIENTS) -> list[Arrays]:
    """Return the data of each client: pictures ``[n, 1, 28, 28]``, standardised as in the code."""
    corpus = prepare("mnist")
    y, y_test = np.asarray(corpus.y_train), np.asarray(corpus.y_test)
    given = []
    for client, (classes, shots) in enumerate(held(ways, count)):
        own = rows(y, classes, APART * client, shots)
        tests = rows(y_test, classes, TESTED * client, TESTED)
        pair = pictures(corpus.x_train[own]), y[own]
        given.append((*pair, pictures(corpus.x_test[tests]), y_test[tests]))
    return given


def pictures(x: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return standardised pictures ``[n, 1, 28, 28]`` of bytes ``[n, 28, 28]``."""
    scaled = (np.asarray(x, np.float32) / 255 - MEAN) / DEVIATION
    return scaled[:, None].astype(np.float32)


class DroppedLinear(nn.Linear):
    """A linear layer behind dropout: what goes into it are features without.

    The prototypes of the published code are those, in training, too.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[batch, out_features]``."""
        return super().forward(F.dropout(x, 0.5, self.training))


class Net(nn.Module):
    """Two convolutions and two linear layers, with dropout; 50 features.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in Net().parameters())
    21840
    """

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5)
        self.dropped = nn.Dropout2d(0.5)
        self.hidden, self.last = nn.Linear(320, 50), DroppedLinear(50, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[batch, classes]`` of pictures ``[batch, 1, 28, 28]``."""
        x = F.relu(F.max_pool2d(self.first(x), 2))
        x = F.relu(F.max_pool2d(self.dropped(self.second(x)), 2))
        logits: Tensor = self.last(F.relu(self.hidden(x.flatten(1))))
        return logits


@torch.no_grad()
def by_head(model: nn.Module, x: Tensor) -> Tensor:
    """Return the classes that a model's last layer tells, ``[n]``: any of the ten."""
    logits: Tensor = model.eval()(x)
    return logits.argmax(dim=1)


def by_prototype(model: nn.Module, x: Tensor, prototypes: Tensor, classes: Sequence[int]) -> Tensor:
    """Return the class of the nearest prototype, ``[n]``, of the client's own classes alone.

    Parameters
    ----------
    model : nn.Module
    x : Tensor
        ``[n, *shape]``.
    prototypes : Tensor
        ``[classes, features]``.
    classes : sequence of int
        Those of the client, each with a prototype.
    """
    own = torch.as_tensor(classes)
    distances = torch.cdist(features_of(model, x), prototypes[own])
    return own[distances.argmin(dim=1)]


def running(
    heads: Sequence[float], nearest: Sequence[float], tested: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Return the lists whose mean and deviation the published code reports, by head and prototype.

    It counts right answers and all answers without ever starting anew: for the i-th client the head
    is scored together with both predictors of the clients before, and then the prototypes are, too.

    Parameters
    ----------
    heads, nearest : sequence of float
        Each client's accuracy, in [0, 1].
    tested : sequence of int
        Its test pictures.

    Examples
    --------
    >>> running([0.5, 1.0], [1.0, 0.0], [2, 4])  # 1/2, (1 + 2 + 4)/8; (1 + 2)/4, 7/12
    ([0.5, 0.875], [0.75, 0.5833333333333334])
    """
    right, asked = 0.0, 0
    lists: tuple[list[float], list[float]] = [], []
    for pair, count in zip(zip(heads, nearest, strict=True), tested, strict=True):
        for found, accuracy in zip(lists, pair, strict=True):
            right, asked = right + accuracy * count, asked + count
            found.append(right / asked)
    return lists
