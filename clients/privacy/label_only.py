"""Label only: the likeliest class, without its probability.

Confidence: certain (the usual baseline). Formula: ``onehot(argmax_c F_c)``; of equal ones the
first. **No formal guarantee**: labels on well-chosen samples still tell members from others.
"""

import torch
from torch import Tensor

from ...privacy.noise import Source
from .base import Mechanism


class LabelOnly(Mechanism):
    """Uploads one-hot soft labels.

    Examples
    --------
    >>> LabelOnly().release(torch.tensor([[0.2, 0.5, 0.3]]), "soft_labels", None)
    tensor([[0., 1., 0.]])
    """

    kinds = ("soft_labels",)

    def release(self, values: Tensor, kind: str, source: Source) -> Tensor:
        """Return the likeliest class of each row."""
        del kind, source
        return torch.nn.functional.one_hot(values.argmax(dim=-1), values.shape[-1]).float()
