"""Binary masks, and the probabilities that they are drawn from: numbers from 0 to 1."""

from torch import Tensor

from .kinds import KINDS, Parameters


class Masks(Parameters):
    """Which parameters of a network count ``[size]``: 0 or 1, or of a mean how probable each is.

    Examples
    --------
    >>> import torch
    >>> Masks("masks").check(torch.tensor([0.0, 1.0, 2.0]))
    'range: 2 is not in 0 to 1'
    """

    def check(self, values: Tensor) -> str | None:
        """Say if a number is no probability."""
        low, high = (end.item() for end in values.aminmax())
        worst = low if low < 0 else high
        return f"range: {worst:.3g} is not in 0 to 1" if low < 0 or high > 1 else None

    def drawn(self, noise: Tensor) -> Tensor:
        """Return 1 where the noise is positive."""
        return (noise > 0).float()


KINDS["masks"] = Masks("masks")
