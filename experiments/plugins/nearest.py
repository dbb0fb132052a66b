"""A personalised rule.

``fedkd run strategy=experiments/plugins/nearest.py:Nearest strategy.beta=5``
"""

import torch
from fedkd.strategies import FusionStrategy
from torch import Tensor

from fedkd.knowledge import KnowledgeStack


class Nearest(FusionStrategy):
    """Each client learns from the clients whose mean soft label is nearest.

    Parameters
    ----------
    beta : float
        Sharpness, >= 0: 0 is the uniform mean.
    **base
        See `fedkd.strategies.FusionStrategy`.
    """

    def __init__(self, beta: float = 1.0, **base: float | None) -> None:
        super().__init__(**base)
        self.beta = beta

    def weights(self, knowledge: KnowledgeStack) -> Tensor:
        """Return mixing weights ``[clients, clients]``; the base mixes and logs them."""
        epd = knowledge.soft_labels.mean(dim=1)
        return (-self.beta * torch.cdist(epd, epd)).softmax(dim=-1)
