"""Margin: ask about the samples whose two likeliest classes are closest.

As in the public code of LoGo (Kim et al., CVPR 2023). Confidence: certain. With p = softmax(z),
p_(1) >= p_(2) >= ...::

    score(x) = -(p_(1)(x) - p_(2)(x))
"""

from torch import Tensor

from ...maths.acquisition import margin
from .base import UncertaintySampler


class Margin(UncertaintySampler):
    """Smallest lead of the likeliest class first.

    Parameters
    ----------
    selector : {"global", "local", "both"}
        Which model's p; "both" fuses ranks, see `UncertaintySampler`.

    Examples
    --------
    >>> import torch
    >>> Margin().uncertainty(torch.tensor([[0.75, 0.25]]))
    tensor([-0.5000])
    """

    def uncertainty(self, p: Tensor) -> Tensor:
        """Return minus the lead."""
        return -margin(p)
