"""Who takes part in a round, and other draws without replacement."""

import numpy as np
import torch
from torch import Tensor

from ..config import RunConfig
from ..rng import SERVER, stream


def draw(total: int, some: int, seed: int) -> Tensor:
    """Return `some` of ``range(total)``, ascending; all of them without drawing.

    Examples
    --------
    >>> draw(3, 5, seed=0)
    tensor([0, 1, 2])
    """
    if some >= total:
        return torch.arange(total)
    chosen = np.random.default_rng(seed).choice(total, size=some, replace=False)
    return torch.from_numpy(np.sort(chosen).astype(np.int64))


def drawn_cohort(config: RunConfig, number: int) -> list[int]:
    """Return the clients that are drawn for a round, ascending."""
    seed = stream(config.seed, SERVER, number, "cohort")
    clients: list[int] = draw(config.population, config.cohort, seed).tolist()
    return clients
