"""Abstaining: some questions are not answered; the samples stay unlabelled and may be asked again.

For each question on its own::

    no answer        with probability p
    y                with probability 1 - p
"""

import torch
from torch import Tensor

from .base import Oracle, probability, withheld


class Abstaining(Oracle):
    """Leaves questions open by chance.

    Parameters
    ----------
    p : float
        Chance of no answer, in [0, 1].
    cost, classes
        See `Oracle`.

    Examples
    --------
    >>> Abstaining(p=1.0).label(torch.tensor([4]), torch.tensor([9]), torch.Generator())
    (tensor([-1]), tensor([False]))
    """

    def __init__(self, p: float = 0.1, *, cost: float = 1.0, classes: int = 0) -> None:
        super().__init__(cost=cost, classes=classes)
        self.p = probability(p)

    def label(
        self, ids: Tensor, true_labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Answer some questions, all of those rightly."""
        labels, answered = super().label(ids, true_labels, generator)
        silent = torch.rand(len(labels), generator=generator, dtype=torch.float64) < self.p
        return withheld(labels, answered & ~silent)
