"""Least confidence: ask about the samples whose likeliest class is least likely.

As in the public code of LoGo (Kim et al., CVPR 2023). Confidence: certain. With p = softmax(z)::

    score(x) = 1 - max_y p_y(x)
"""

from torch import Tensor

from ...maths.acquisition import least_confidence
from .base import UncertaintySampler


class LeastConfidence(UncertaintySampler):
    """Least probable prediction first.

    Parameters
    ----------
    selector : {"global", "local", "both"}
        Which model's p; "both" fuses ranks, see `UncertaintySampler`.

    Examples
    --------
    >>> import torch
    >>> LeastConfidence(selector="local").uncertainty(torch.tensor([[0.75, 0.25]]))
    tensor([0.2500])
    """

    def uncertainty(self, p: Tensor) -> Tensor:
        """Return ``1 - max p``."""
        return least_confidence(p)
