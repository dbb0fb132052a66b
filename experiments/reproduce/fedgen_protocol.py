"""FedGen's MNIST experiment: who holds which pictures, the network, and how it is measured.

Zhu, Hong, Zhou, "Data-Free Knowledge Distillation for Heterogeneous Federated Learning", ICML 2021,
arXiv 2105.10056, and their code. Confidence: certain for what is counted here, but for the random
numbers that deal the pictures: ours are another generator's.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...data import prepare

USERS, CLASSES, SEED = 20, 10, 42
RATIO = 0.5
"""What the code calls the share of the training data that is used; see `kept`."""

LEAST = 10
"""Samples that each user has at least."""

Arrays = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]
"""A user's ``(x, y, x_test, y_test)``."""


def kept(samples: int, in_class: int, users: int = USERS) -> int:
    """Return how many pictures of a class are dealt.

    Examples
    --------
    >>> kept(60_000, 6_000)  # 15,000 of ten classes: a quarter of MNIST, not half of it
    1500
    """
    return int(min(RATIO * samples / users, RATIO * in_class))


def dealt(
    labels: NDArray[np.int64], alpha: float, users: int = USERS, seed: int = SEED
) -> list[list[NDArray[np.int64]]]:
    """Return each user's training rows, class after class in the order of its memory.

    A class's pictures are shuffled and cut by Dirichlet(alpha) shares, of which users who hold as
    many as a class has get none; all is drawn anew until everybody has ten.

    Parameters
    ----------
    labels : ndarray of int64
        ``[n]``.
    alpha : float
        Concentration, > 0.
    users : int
    seed : int

    Returns
    -------
    list of list of ndarray
        For each user the rows of each class that it holds, none of them empty.
    """
    rng = np.random.default_rng(seed)
    while True:
        held = _drawn(labels, alpha, users, rng)
        if min(sum(map(len, own)) for own in held) >= LEAST:
            return held


def _drawn(
    labels: NDArray[np.int64], alpha: float, users: int, rng: np.random.Generator
) -> list[list[NDArray[np.int64]]]:
    held: list[list[NDArray[np.int64]]] = [[] for _ in range(users)]
    for one in rng.permutation(np.unique(labels)):
        rows = rng.permutation(np.flatnonzero(labels == one))
        rows = rows[: kept(len(labels), len(rows), users)]
        full = [sum(map(len, own)) >= RATIO * len(labels) / users for own in held]
        shares = np.where(full, 0.0, rng.dirichlet(np.full(users, alpha)))
        if not shares.sum():
            return [[] for _ in range(users)]  # nobody has room: too few, so all is drawn anew
        cuts = (np.cumsum(shares / shares.sum()) * len(rows)).astype(int)[:-1]
        for own, part in zip(held, np.split(rows, cuts), strict=True):
            if len(part):
                own.append(part)
    return held


def tests(labels: NDArray[np.int64], classes: Sequence[Sequence[int]]) -> list[NDArray[np.int64]]:
    """Return each user's test rows: of each class that it trains on the next ``n_c / users``.

    Who lacks a class is not tested on it, and takes none of it.

    Examples
    --------
    >>> labels = np.array([0, 0, 1, 0, 0, 1])
    >>> [rows.tolist() for rows in tests(labels, [[1, 0], [0]])]
    [[2, 0, 1], [3, 4]]
    """
    used = dict.fromkeys(np.unique(labels).tolist(), 0)
    found = []
    for own in classes:
        parts = [np.zeros(0, np.int64)]
        for one in own:
            rows = np.flatnonzero(labels == one)
            each = len(rows) // len(classes)
            parts.append(rows[used[one] : used[one] + each])
            used[one] += each
        found.append(np.concatenate(parts))
    return found


def users(alpha: float) -> list[Arrays]:
    """Return the data of each user, in the order of its memory: pictures ``[n, 1, 28, 28]``."""
    corpus = prepare("mnist")
    y, y_test = np.asarray(corpus.y_train), np.asarray(corpus.y_test)
    held = dealt(y, alpha)
    classes = [[int(y[part[0]]) for part in own] for own in held]
    given = []
    for own, tested in zip(held, tests(y_test, classes), strict=True):
        rows = np.concatenate(own)
        pair = pictures(corpus.x_train[rows]), y[rows]
        given.append((*pair, pictures(corpus.x_test[tested]), y_test[tested]))
    return given


def official() -> tuple[Tensor, Tensor]:
    """Return the whole test split, ``[10000, 1, 28, 28]`` and ``[10000]``."""
    corpus = prepare("mnist")
    labels = torch.from_numpy(np.array(corpus.y_test))
    return torch.from_numpy(pictures(corpus.x_test)), labels


def pictures(x: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pictures ``[n, 1, 28, 28]`` in [-1, 1] of bytes ``[n, 28, 28]``."""
    scaled = (np.asarray(x, np.float32) / 255 - 0.5) / 0.5
    return scaled[:, None].astype(np.float32)


class Net(nn.Sequential):
    """Two strided convolutions with BatchNorm, and two linear layers with nothing in between.

    Examples
    --------
    >>> sum(parameter.numel() for parameter in Net().parameters())
    26434
    """

    def __init__(self, classes: int = CLASSES) -> None:
        first = nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU()
        second = nn.Conv2d(6, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()
        super().__init__(*first, *second, nn.Flatten(), nn.Linear(784, 32), nn.Linear(32, classes))


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of samples that a model is right about, in evaluation mode."""
    found = torch.cat([model.eval()(part).argmax(dim=1) for part in x.split(500)])
    return (found == y).double().mean().item()


def best(curve: Sequence[float], rounds: int = 5) -> list[float]:
    """Return what is reported of a run: the accuracies of its best rounds, the best first.

    Examples
    --------
    >>> best([0.1, 0.9, 0.5, 0.8], rounds=2)
    [0.9, 0.8]
    """
    return sorted(curve, reverse=True)[:rounds]
