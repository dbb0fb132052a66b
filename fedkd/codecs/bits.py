"""Bits: zeros and ones as one bit each.

Formula: eight numbers a byte, the first in the highest bit; nothing is lost. What has any other
number travels as it is.
"""

from collections.abc import Mapping
from math import prod

import numpy as np
import torch
from torch import Tensor

from .base import Codec, Parts, part, shape_of, shape_part


class Bits(Codec):
    """Packs what is all zeros and ones; for binary masks.

    Examples
    --------
    >>> codec = Bits()
    >>> parts = codec.encode(torch.tensor([1.0, 0.0, 1.0]))
    >>> parts["bits"], codec.decode(parts, limit=3)
    (array([160], dtype=uint8), tensor([1., 0., 1.]))
    """

    kinds = ("masks",)

    def fits(self, values: Tensor) -> bool:
        """Take zeros and ones."""
        return bool(((values == 0) | (values == 1)).all())

    def encode(self, values: Tensor) -> Parts:
        """Return ``bits``, packed, and ``shape``."""
        return {"bits": np.packbits(values.numpy().astype(bool)), "shape": shape_part(values)}

    def decode(self, parts: Mapping[str, np.ndarray], limit: int) -> Tensor:
        """Return the zeros and ones."""
        shape = shape_of(parts, limit)
        packed = part(parts, "bits", np.uint8, -(-prod(shape) // 8))
        bits = np.unpackbits(packed, count=prod(shape)).astype(np.float32)
        return torch.from_numpy(bits.reshape(shape))
