"""Capped: a client gets so many answers a cycle and no more, whatever its budget.

::

    y                for the first `per_cycle` questions of a call, the most wanted ones
    no answer        for the others
"""

import torch
from torch import Tensor

from .base import Oracle, withheld


class Capped(Oracle):
    """Stops answering after so many questions.

    Parameters
    ----------
    per_cycle : int
        Answers for each client and cycle, >= 0.
    cost, classes
        See `Oracle`.

    Examples
    --------
    >>> ids, truth = torch.tensor([4, 0, 8]), torch.tensor([9, 5, 7])
    >>> Capped(per_cycle=2).label(ids, truth, torch.Generator())
    (tensor([ 9,  5, -1]), tensor([ True,  True, False]))
    """

    def __init__(self, per_cycle: int = 10, *, cost: float = 1.0, classes: int = 0) -> None:
        super().__init__(cost=cost, classes=classes)
        if per_cycle < 0:
            raise ValueError(f"per_cycle={per_cycle} must be at least 0")
        self.per_cycle = per_cycle

    def label(
        self, ids: Tensor, true_labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Answer the first questions."""
        labels, answered = super().label(ids, true_labels, generator)
        return withheld(labels, answered & (torch.arange(len(labels)) < self.per_cycle))
