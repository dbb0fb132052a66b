"""Soft labels of few bits: what CFD's clients upload."""

from torch import Tensor

from ...codecs.quantisation import BITS, quantised
from .soft_labels import SoftLabels


class QuantisedLabels(SoftLabels):
    """Uploads soft labels rounded to few bits; one bit is the hard label.

    Parameters
    ----------
    bits : int
        Bits of each entry, 1 to 16; 32 does not round.
    """

    def __init__(self, bits: int = 1) -> None:
        if bits not in BITS:
            raise ValueError(f"bits={bits} must be one of 1 to 16, or 32")
        self.bits = bits

    def values(self, logits: Tensor, temperature: float) -> Tensor:
        """Return the quantised ``softmax(logits / temperature)``.

        Examples
        --------
        >>> import torch
        >>> QuantisedLabels().values(torch.tensor([[0.0, 0.1]]), 1.0)
        tensor([[0., 1.]])
        """
        return quantised(super().values(logits, temperature), self.bits)
