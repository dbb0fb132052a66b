"""Random one-hot: sure of a class drawn by chance, per sample.

A baseline of Roux, Zimmer, Pokutta, "On the Byzantine-Resilience of Distillation-Based Federated
Learning", ICLR 2025, arXiv 2402.12265 (certain, from the paper's code).

Formula, per sample, drawn anew for every client and round::

    F = onehot(c),   c uniform on the classes
"""

import torch
from torch import Tensor

from .base import Attack, View


class RandomOneHot(Attack):
    """One-hot at random classes."""

    def poison(self, view: View) -> Tensor:
        """Return the one-hot knowledge."""
        samples, classes = view.own.shape
        return view.one_hot(torch.randint(classes, (samples,), generator=view.generator))
