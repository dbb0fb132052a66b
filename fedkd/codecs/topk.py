"""Top-k: the largest numbers of each row, and what all others are on average.

Formula, for a row ``p`` of ``C`` numbers with its k largest at places ``K``::

    decoded_c = p_c                                       for c in K
    decoded_c = sum over others o of p_o / (C - k)        for all others

All in float16. Soft labels keep their sum, logits their mean.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..knowledge import CLASS_SCORES
from .base import Codec, Parts, Undecodable, part, shape_of, shape_part


class TopK(Codec):
    """Keeps the k largest of each row; for soft labels and logits.

    Parameters
    ----------
    k : int
        How many are kept, at least 1. Rows of no more than k numbers are not encoded.
    **ways
        See `Codec`.

    Examples
    --------
    >>> codec = TopK(k=1)
    >>> codec.decode(codec.encode(torch.tensor([[0.5, 0.125, 0.375]])), limit=3)
    tensor([[0.5000, 0.2500, 0.2500]])
    """

    kinds = CLASS_SCORES

    def __init__(self, k: int = 3, **ways: bool) -> None:
        super().__init__(**ways)
        if k < 1:
            raise ValueError(f"k={k} must be at least 1")
        self.k = k

    def kept(self, width: int) -> int:
        """Return k; where one is left over, it is the mean of itself."""
        return self.k if width > self.k + 1 else width

    def fits(self, values: Tensor) -> bool:
        """Take rows of more than k numbers."""
        return values.dim() == 2 and values.shape[1] > self.k and super().fits(values)

    def encode(self, values: Tensor) -> Parts:
        """Return ``top`` and ``place`` ``[rows, k]``, ``rest`` ``[rows]``, and ``shape``."""
        order = values.sort(dim=-1, descending=True, stable=True)
        top, others = order.values[:, : self.k], order.values[:, self.k :]
        return {
            "top": top.half().numpy(),
            "place": order.indices[:, : self.k].numpy().astype(_place_type(values.shape[1])),
            "rest": others.mean(dim=-1).half().numpy(),
            "shape": shape_part(values),
        }

    def decode(self, parts: Mapping[str, np.ndarray], limit: int) -> Tensor:
        """Return the values; k is that of the sender."""
        shape = shape_of(parts, limit)
        top = part(parts, "top", np.float16)
        if len(shape) != 2 or top.ndim != 2 or len(top) != shape[0] or top.shape[1] > shape[1]:
            raise Undecodable(f"top is {list(top.shape)}, for values {list(shape)}")
        place = part(parts, "place", _place_type(shape[1]), *top.shape)
        if place.size and int(place.max()) >= shape[1]:
            raise Undecodable(f"place {int(place.max())}, there are {shape[1]}")
        rest = part(parts, "rest", np.float16, shape[0]).astype(np.float32)
        values = np.repeat(rest[:, None], shape[1], axis=1)
        np.put_along_axis(values, place.astype(np.int64), top.astype(np.float32), axis=1)
        return torch.from_numpy(values)


def _place_type(classes: int) -> type:
    """Return the smallest type that counts to so many classes."""
    return np.uint8 if classes <= 2**8 else np.uint16 if classes <= 2**16 else np.uint32
