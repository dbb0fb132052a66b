"""How long an architecture takes here: one training step, and one prediction, on one thread."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

from ..engine.host import one_thread
from ..models import Outputs, build, shape_of
from ..models.sgd import sgd
from ..rng import scoped
from ..tasks.rows import each_of, rows_of
from ..tasks.samples import made_up


@dataclass(frozen=True)
class Cost:
    """One architecture: its parameters, and what it takes on one CPU thread."""

    parameters: int
    step: float
    """seconds of one training step"""
    predict: float
    """seconds per predicted sample"""


@dataclass(frozen=True)
class Workload:
    """What a client's fit costs in one round, for the estimate of a run."""

    samples: int
    """private samples of an epoch"""
    steps: float = 1.0
    """training steps a batch, those of what the method adds to the loss included"""
    passes: float = 0.0
    """forward passes a batch beside them"""
    beside: Any = None
    """a second model that is trained at the same time, as for ``model=``"""
    tuning: int = 0
    """epochs of fine-tuning each time that the client is measured"""


def measure(spec: Any, shape: tuple[int, ...], classes: Outputs, batch_size: int) -> Cost:
    """Time an architecture on random samples of the right shape.

    Parameters
    ----------
    spec, shape, classes
        See `fedkd.models.build`.
    batch_size : int
        Samples of the training step.

    Examples
    --------
    >>> cost = measure("mlp", (1, 8, 8), 10, batch_size=32)
    >>> cost.parameters, 0 < cost.predict < cost.step < 1
    (15010, True)
    """
    with scoped(0), one_thread():
        model = build(spec, shape, classes)
        each, width = each_of(shape_of(classes)), shape_of(classes)[-1]
        x, y = made_up(shape, batch_size), torch.randint(width, (batch_size * each,))
        many = made_up(shape, 256)
        optimizer = sgd(list(model.parameters()), 1e-3, 0.9)

        def step() -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(rows_of(model(x)), y).backward()
            optimizer.step()

        def predict() -> None:
            with torch.no_grad():
                model(many)

        parameters = sum(parameter.numel() for parameter in model.parameters())
        return Cost(parameters, _timed(step), _timed(predict) / len(many))


def _timed(call: Callable[[], None], repeats: int = 7) -> float:
    """Return the median seconds of a call, the first two (allocation, caches) left out."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return median(seconds[2:])
