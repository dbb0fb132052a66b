"""Soft labels: class probabilities on the transfer set."""

from torch import Tensor

from .base import Exchange


class SoftLabels(Exchange):
    """Uploads ``softmax(logits / temperature)`` on the round's transfer samples."""

    kind = "soft_labels"

    def values(self, logits: Tensor, temperature: float) -> Tensor:
        """Return ``softmax(logits / temperature)``.

        Examples
        --------
        >>> import torch
        >>> SoftLabels().values(torch.tensor([[0.0, 0.0]]), 1.0)
        tensor([[0.5000, 0.5000]])
        """
        return (logits / temperature).softmax(dim=-1)
