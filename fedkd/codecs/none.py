"""No codec: everything travels as float32."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .base import Codec, Parts, Undecodable


class NONE(Codec):
    """Changes nothing."""

    def __init__(self, *, up: bool = False, down: bool = False) -> None:
        del up, down  # there is nothing to switch on
        super().__init__(up=False, down=False)

    def encode(self, values: Tensor) -> Parts:
        """Return the numbers as they are."""
        return {"values": values.numpy()}

    def decode(self, parts: Mapping[str, np.ndarray], limit: int) -> Tensor:
        """Return the numbers as they are."""
        if "values" not in parts or parts["values"].size > limit:
            raise Undecodable("values are missing, or too many")
        return torch.from_numpy(np.array(parts["values"], np.float32))
