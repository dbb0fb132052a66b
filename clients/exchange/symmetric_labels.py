"""Soft labels of a client that learns by symmetric cross-entropy, and its loss: RHFL's."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...knowledge import Knowledge
from ...tasks.rows import rows_of
from .phase import Phase
from .received import Added, Loss, Sight
from .soft_labels import SoftLabels

LEAST = 1e-4
"""What stands for the probability 0 of the wrong classes, whose logarithm is taken."""


class SymmetricLabels(Added, SoftLabels):
    """Learns by ``alpha CE + beta RCE``, RCE the reverse cross-entropy; uploads what that is.

    Parameters
    ----------
    alpha, beta : float
        Weights, >= 0.
    """

    def __init__(self, alpha: float = 0.1, beta: float = 1.0) -> None:
        for name, value in {"alpha": alpha, "beta": beta}.items():
            if not value >= 0:
                raise ValueError(f"{name}={value} must be at least 0")
        self.alpha, self.beta = alpha, beta

    def extras(self, model: nn.Module, classes: int) -> Mapping[str, tuple[int, ...]]:
        """Declare ``loss`` ``[1]``: on private data, after the fit."""
        del model, classes
        return {"loss": (1,)}

    def term(self, phase: Phase, sight: Sight) -> Loss:
        """Return what makes the loop's own cross-entropy the symmetric one."""
        del phase, sight

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            own, y = rows_of(logits), labels.flatten()
            return (self.alpha - 1) * F.cross_entropy(own, y) + self.beta * reverse(own, y)

        return loss

    def upload(self, phase: Phase) -> Knowledge:
        """Return soft labels, and the loss."""
        client = phase.client
        loss = torch.zeros(())
        if len(client.y):
            logits, y = rows_of(phase.loop.predict([client], client.x)[0]), client.y.flatten()
            loss = self.alpha * F.cross_entropy(logits, y) + self.beta * reverse(logits, y)
        return replace(super().upload(phase), extras={"loss": loss.reshape(1)})


def reverse(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the reverse cross-entropy ``-sum_c p_c ln(max(onehot_c, 1e-4))``, a mean over rows.

    Examples
    --------
    >>> reverse(torch.zeros(1, 4), torch.tensor([2]))
    tensor(6.9078)
    """
    wrong = 1 - logits.softmax(dim=-1).gather(1, labels.unsqueeze(1))
    return -torch.tensor(LEAST).log() * wrong.mean()
