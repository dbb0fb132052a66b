"""Entropy: ask about the samples whose predicted distribution is widest.

As in the public code of LoGo (Kim et al., CVPR 2023); F-AL (Ahn et al., 2022) is its use with the
global model. Confidence: certain for the score. With p = softmax(z) and 0 log 0 = 0::

    score(x) = -sum_y p_y(x) log p_y(x)
"""

from torch import Tensor

from ...maths.acquisition import entropy
from .base import UncertaintySampler


class Entropy(UncertaintySampler):
    """Widest prediction first.

    Parameters
    ----------
    selector : {"global", "local", "both"}
        Which model's p; "both" fuses ranks, see `UncertaintySampler`.

    Examples
    --------
    >>> import torch
    >>> Entropy().uncertainty(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    tensor([0.6931, 0.0000])
    """

    def uncertainty(self, p: Tensor) -> Tensor:
        """Return the entropy in nats."""
        return entropy(p)
