"""Top-k: the probabilities of the k likeliest classes, the others as if they were equal.

Confidence: certain (a usual baseline). Formula: the k largest stay, all others become their mean:
a row keeps its sum. **No formal guarantee.**
"""

from torch import Tensor

from ...privacy.noise import Source
from .base import Mechanism


class TopK(Mechanism):
    """Hides how the unlikely classes differ.

    Parameters
    ----------
    k : int
        Classes that keep their numbers, at least 1.
    **base
        See `Mechanism`.

    Examples
    --------
    >>> import torch
    >>> TopK(k=1).release(torch.tensor([[0.5, 0.125, 0.375]]), "soft_labels", None)
    tensor([[0.5000, 0.2500, 0.2500]])
    """

    def __init__(self, k: int = 3, **base: bool) -> None:
        super().__init__(**base)
        if k < 1:
            raise ValueError(f"k={k} must be at least 1")
        self.k = k

    def release(self, values: Tensor, kind: str, source: Source) -> Tensor:
        """Return the coarser knowledge."""
        del kind, source
        order = values.sort(dim=-1, descending=True, stable=True)
        others = order.values[:, self.k :]
        if not others.shape[-1]:
            return values
        mean = others.mean(dim=-1, keepdim=True).expand_as(others)
        return values.scatter(-1, order.indices[:, self.k :], mean)
