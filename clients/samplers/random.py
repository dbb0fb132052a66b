"""Random: every unlabelled sample has the same chance. The baseline of active learning."""

import torch
from torch import Tensor

from .base import Pool, Sampler


class Random(Sampler):
    """Picks at random, without looking at any model.

    Examples
    --------
    >>> class Clients:
    ...     x, generator = torch.zeros(4, 2), torch.Generator().manual_seed(0)
    >>> sorted(Random().pick(Clients, 4).tolist())
    [0, 1, 2, 3]
    """

    def choose(self, pool: Pool, budget: int) -> Tensor:
        """Return the start of a random order."""
        return torch.randperm(len(pool.x), generator=pool.generator)[:budget]
