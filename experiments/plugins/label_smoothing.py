"""A client loop of one's own.

``fedkd run client=experiments/plugins/label_smoothing.py:Smoothed client.smoothing=0.2``
"""

from typing import Any

from fedkd.clients import Client
from fedkd.clients.standard import Standard
from torch import Tensor, nn


class Smoothed(Standard):
    """The standard loop with label smoothing on the private data.

    Parameters
    ----------
    smoothing : float
        Share of the label that is spread over all classes, in [0, 1).
    **settings
        What every loop gets.
    """

    needs_classes = True

    def __init__(self, smoothing: float = 0.1, **settings: Any) -> None:
        super().__init__(**settings)
        self.smoothing = smoothing

    def private_loss(self, client: Client, logits: Tensor, labels: Tensor) -> Tensor:
        """Return smoothed cross-entropy."""
        return nn.functional.cross_entropy(logits, labels, label_smoothing=self.smoothing)
