"""FedNTD without what the received model thinks of a client's majority classes: FedLMD."""

from typing import Literal

import torch
from torch import Tensor

from ...maths.imbalance import frequent
from .not_true import NotTrue
from .phase import Phase
from .received import Sight


class LabelMasking(NotTrue):
    """Learns from the received model, or evenly, about wrong classes that are rare at the client.

    Parameters
    ----------
    beta, tau
        See `NotTrue`.
    teacher : {"received", "uniform"}
        Who teaches: the received model, or nobody, and all of those classes are equally likely.
    """

    def __init__(
        self,
        beta: float = 1.0,
        tau: float = 1.0,
        teacher: Literal["received", "uniform"] = "received",
    ) -> None:
        super().__init__(beta, tau)
        self.teacher = teacher

    def hidden(self, phase: Phase) -> Tensor:
        """Return the client's majority classes."""
        return frequent(phase.client.y, phase.classes)

    def taught(self, sight: Sight, own: Tensor) -> Tensor:
        """Return the received model's logits, or none at all: zeros."""
        if self.teacher == "uniform":
            return torch.zeros_like(own)
        return super().taught(sight, own)
