"""Runs by NIID-Bench's protocol, whose server's model is measured class by class each round.

The tables of a run have what clients are measured with; here it is the model that the server would
send next, whoever takes part, on the whole test split: so one can tell what is forgotten.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ...callbacks.base import Callback, RoundRecord
from ...data import prepare
from ...models.flat import size, unflatten
from ...models.lenet5 import LeNet5
from ...rounds.protocol import Strategy
from ...strategies.flower_adapter import FlowerStrategy
from ...strategies.parametric import ParameterFusion
from .cells import Row
from .claims import listed
from .tables import BARE


def protocol(
    data: str, alpha: float, cell: Row, epochs: int, clients: int, fraction: float = 1.0
) -> dict[str, Any]:
    """Return the settings of NIID-Bench and of those after it: its network, split and optimiser.

    Examples
    --------
    >>> protocol("mnist", 0.5, {"rounds": 50, "seed": 0}, epochs=10, clients=10)["model"]
    'lenet5'
    """
    return BARE | {
        "clients": clients,
        "fraction": fraction,
        "rounds": cell["rounds"],
        "seed": cell["seed"],
        "model": "lenet5",
        "data": {
            "name": data,
            "partitioner": {"name": "dirichlet", "alpha": alpha, "self_balancing": True},
            "min_partition_size": 10,
        },
        "fit": {
            "epochs": epochs,
            "batch_size": 64,
            "lr": 0.01,
            "momentum": 0.9,
            "weight_decay": 1e-5,
        },
        "evaluate": {"every": cell["rounds"], "samples": 10},  # `Curves` measures
    }


def sent(strategy: Strategy, model: nn.Module) -> nn.Module:
    """Load what a strategy would send next into a model of its kind, and return that."""
    if isinstance(strategy, FlowerStrategy):
        model.load_state_dict(strategy.arrays())
        return model
    assert isinstance(strategy, ParameterFusion)
    return unflatten(model, strategy.state["shared.0"][: size(model)])  # SCAFFOLD's c is behind it


@torch.no_grad()
def right(model: nn.Module, x: Tensor, y: Tensor, classes: int) -> list[int]:
    """Return how many samples of each class a model is right about, ``[classes]``.

    Examples
    --------
    >>> x, y = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1, 1])
    >>> right(nn.Identity(), x, y, 2)
    [1, 1]
    """
    found = torch.cat([model.eval()(part).argmax(dim=1) for part in x.split(500)])
    return torch.bincount(y[found == y], minlength=classes).tolist()


class Curves(Callback):
    """Counts right answers after every round.

    Parameters
    ----------
    strategy : Strategy
        The run's, one model for all: LeNet-5.
    data : str
        Name of the data set.
    """

    def __init__(self, strategy: Strategy, data: str) -> None:
        corpus = prepare(data)
        self.strategy, self.classes = strategy, corpus.classes
        self.x, self.y = corpus.tensor("test")
        self.model: nn.Module = LeNet5(corpus.shape, corpus.classes)
        self.counts = np.bincount(corpus.y_test, minlength=corpus.classes)
        self.right: list[list[int]] = []

    def on_round(self, record: RoundRecord) -> None:
        """Measure the server's model."""
        model = sent(self.strategy, self.model)
        self.right.append(right(model, self.x, self.y, self.classes))

    def row(self) -> Row:
        """Return the last accuracy, what was forgotten, and the accuracy after each round."""
        curve = [sum(one) / len(self.y) for one in self.right]
        forgotten = forgetting(np.asarray(self.right) / self.counts)
        found = {"overall": round(curve[-1], 5), "forgotten": round(forgotten, 5)}
        return found | {"curve": listed(curve)}


def forgetting(by_class: ArrayLike) -> float:
    """Return the mean over classes of the best accuracy of an earlier round minus the last.

    Parameters
    ----------
    by_class : array
        ``[rounds, classes]``, at least two rounds.

    Examples
    --------
    >>> forgetting([[0.75, 0.25], [0.5, 0.5], [0.5, 0.75]])  # (0.25 - 0.25) / 2
    0.0
    """
    accuracies = np.asarray(by_class, np.float64)
    return float((accuracies[:-1].max(axis=0) - accuracies[-1]).mean())


def curve(row: Row) -> list[float]:
    """Return the accuracy after each round.

    Examples
    --------
    >>> curve({"curve": "0.50000 0.75000"})
    [0.5, 0.75]
    """
    return [float(one) for one in row["curve"].split()]


def reached(curve: Sequence[float], level: float) -> int | None:
    """Return the first round that is as good as a level, None if none is.

    Examples
    --------
    >>> reached([0.1, 0.5, 0.4], 0.4), reached([0.1], 0.4)
    (2, None)
    """
    return next((number for number, one in enumerate(curve, 1) if one >= level), None)
