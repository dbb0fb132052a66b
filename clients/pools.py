"""What a client of active learning knows: which of its samples are labelled, and how.

Both pools live in the client's tensors, so they are checkpointed and never sent. Labelled samples
only become more; what is not labelled is unlabelled.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..rng import torch_generator

LABELS = "pool.labels"
"""The client's tensor of labels ``[samples]`` int64, -1 for a sample without."""


@dataclass(frozen=True)
class Pools:
    """A client's samples and the labels it has.

    Parameters
    ----------
    x : Tensor
        ``[samples, *shape]``, all private samples.
    labels : Tensor
        ``[samples]`` int64, -1 for a sample without a label.

    Examples
    --------
    >>> pools = Pools(torch.zeros(3, 2), torch.tensor([1, -1, 0]))
    >>> pools.labelled.tolist(), pools.unlabelled.tolist(), pools.counts(2).tolist()
    ([0, 2], [1], [1, 1])
    """

    x: Tensor
    labels: Tensor

    @property
    def labelled(self) -> Tensor:
        """Rows with a label, ascending."""
        return torch.nonzero(self.labels >= 0).flatten()

    @property
    def unlabelled(self) -> Tensor:
        """Rows without a label, ascending."""
        return torch.nonzero(self.labels < 0).flatten()

    def counts(self, classes: int) -> Tensor:
        """Return the labelled samples of each class ``[classes]`` int64."""
        return torch.bincount(self.labels[self.labelled], minlength=classes)


def initial_labels(truth: Tensor, share: float, seed: int) -> Tensor:
    """Return labels for ``ceil(share * samples)`` samples drawn at random, -1 for the others.

    Examples
    --------
    >>> (initial_labels(torch.tensor([4, 5, 6]), 0.5, seed=0) >= 0).sum().item()
    2
    """
    chosen = torch.randperm(len(truth), generator=torch_generator(seed))
    chosen = chosen[: math.ceil(share * len(truth))]
    labels = torch.full_like(truth, -1)
    labels[chosen] = truth[chosen]
    return labels
