"""Noisy: some answers are wrong, and nobody can tell which.

Symmetric label noise. For each question on its own, with C classes::

    y -> y                      with probability 1 - p
    y -> any other class        with probability p / (C - 1) each
"""

import torch
from torch import Tensor

from .base import Oracle, probability


class Noisy(Oracle):
    """Flips the label to another class by chance.

    Parameters
    ----------
    p : float
        Chance of a wrong answer, in [0, 1].
    cost, classes
        See `Oracle`.

    Examples
    --------
    >>> ids, truth = torch.tensor([4, 8]), torch.tensor([0, 1])
    >>> Noisy(p=1.0, classes=2).label(ids, truth, torch.Generator())
    (tensor([1, 0]), tensor([True, True]))
    """

    def __init__(self, p: float = 0.1, *, cost: float = 1.0, classes: int = 0) -> None:
        super().__init__(cost=cost, classes=classes)
        self.p = probability(p)

    def label(
        self, ids: Tensor, true_labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Answer everything, some of it wrongly."""
        labels, answered = super().label(ids, true_labels, generator)
        if self.classes < 2 or bool((labels >= self.classes).any()):
            raise ValueError(f"classes={self.classes} must be the number of classes, at least 2")
        wrong = torch.rand(len(labels), generator=generator, dtype=torch.float64) < self.p
        shift = torch.randint(1, self.classes, labels.shape, generator=generator)
        return torch.where(wrong, (labels + shift) % self.classes, labels), answered
