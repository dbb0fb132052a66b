"""Temperature: flatter knowledge than the method asks for.

Confidence: certain (a usual baseline). Formula: ``softmax(z / T)``; of soft labels p that is
``p^(1/T)``, scaled to sum 1. **No formal guarantee**: who knows T can undo it but for rounding.
"""

from torch import Tensor

from ...knowledge import kind_named
from ...maths.divergences import EPS
from ...privacy.noise import Source
from .base import Mechanism, positive


class Temperature(Mechanism):
    """Flattens soft labels or logits.

    Parameters
    ----------
    softness : float
        T, > 0; above 1 flatter.
    **base
        See `Mechanism`.

    Examples
    --------
    >>> import torch
    >>> Temperature(softness=2.0).release(torch.tensor([[0.8, 0.2]]), "soft_labels", None)
    tensor([[0.6667, 0.3333]])
    """

    def __init__(self, softness: float = 4.0, **base: bool) -> None:
        super().__init__(**base)
        positive("softness", softness)
        self.softness = softness

    def release(self, values: Tensor, kind: str, source: Source) -> Tensor:
        """Return the flatter knowledge."""
        del source
        if not kind_named(kind).simplex:
            return values / self.softness
        return (values.clamp_min(EPS).log() / self.softness).softmax(dim=-1)
