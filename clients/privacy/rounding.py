"""Rounding: knowledge with few decimals.

AIJack (``round_decimal`` of its FedMD); confidence: certain. Logits are rounded one by one. Soft
labels become the nearest row of whole multiples of ``10^-decimals`` that sums to 1. **No formal
guarantee**: it is AIJack's only defence, and attacks that need little detail do not mind it. For
bits in place of decimals there is ``compress=quantised``.
"""

import torch
from torch import Tensor

from ...codecs.quantisation import stepped
from ...knowledge import kind_named
from ...privacy.noise import Source
from .base import Mechanism


class Rounding(Mechanism):
    """Rounds soft labels or logits to decimals.

    Parameters
    ----------
    decimals : int
        Digits after the point, 0 to 6.
    **base
        See `Mechanism`.

    Examples
    --------
    >>> Rounding(decimals=1).release(torch.tensor([[0.44, 0.41, 0.15]]), "soft_labels", None)
    tensor([[0.4000, 0.4000, 0.2000]])
    """

    def __init__(self, decimals: int = 1, **base: bool) -> None:
        super().__init__(**base)
        if not 0 <= decimals <= 6:
            raise ValueError(f"decimals={decimals} must be 0 to 6")
        self.decimals = decimals

    def release(self, values: Tensor, kind: str, source: Source) -> Tensor:
        """Return the rounded knowledge."""
        del source
        if kind_named(kind).simplex:
            return stepped(values, 10**self.decimals)
        return torch.round(values, decimals=self.decimals)
