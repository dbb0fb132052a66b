"""Samples that stay on the GPU from phase to phase."""

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from .memory import free_bytes

PART = 0.25
"""Part of the free memory that samples may take."""


class Resident:
    """Moves samples to the device, and keeps what fits there for as long as the original lives.

    Parameters
    ----------
    device : str
        ``"cpu"`` or ``"cuda"``.

    Examples
    --------
    >>> import torch
    >>> x = torch.ones(3, 2)
    >>> Resident("cpu")(x) is x
    True
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self._copies = WeakTensorKeyDictionary()

    def __call__(self, samples: Tensor) -> Tensor:
        """Return the samples on the device; nobody may write into them."""
        if samples.device.type == self.device:
            return samples
        if (found := self._copies.get(samples)) is None:
            found = samples.to(self.device)
            if found.nbytes <= PART * self._free():
                self._copies[samples] = found
        return found

    def _free(self) -> int:
        return free_bytes(1.0) if self.device == "cuda" else 0

    def __reduce__(self) -> tuple[type["Resident"], tuple[str]]:
        return type(self), (self.device,)  # copies stay in their process
