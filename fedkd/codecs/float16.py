"""Half precision: two bytes a number.

Formula: the nearest IEEE float16. The relative error is at most ``2^-11``; numbers below ``2^-14``
have an absolute one of at most ``2^-25``.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .base import Codec, Parts, Undecodable, part


class Float16(Codec):
    """Rounds to float16; for every kind of knowledge.

    Examples
    --------
    >>> codec = Float16()
    >>> codec.decode(codec.encode(torch.tensor([[0.1, 0.9]])), limit=2)
    tensor([[0.1000, 0.8999]])
    """

    def encode(self, values: Tensor) -> Parts:
        """Return ``half``, of the shape of the values."""
        return {"half": values.half().numpy()}

    def decode(self, parts: Mapping[str, np.ndarray], limit: int) -> Tensor:
        """Return the values."""
        half = part(parts, "half", np.float16)
        if half.size > limit:
            raise Undecodable(f"stands for {half.size} numbers, expected at most {limit}")
        return torch.from_numpy(half.astype(np.float32))
