"""FedDyn at a client: a quadratic whose linear part is what past fits have moved."""

import torch
from torch import Tensor

from ...models.flat import size
from .corrections import Even
from .phase import Phase

MEAN_SAMPLES = "mean-samples"
"""The option that says how many samples clients have on average."""

PAST = "past"
"""The tensor in which a client keeps the sum of its movements, ``[size]``."""


class DynamicRegulariser(Even):
    """Uploads the model; adds ``alpha_k (|w - w_start|^2 / 2 + <w, h_k>)`` to the private loss.

    Parameters
    ----------
    alpha : float
        Weight, > 0; a client's is inversely proportional to its samples, `alpha` on average ones.
    """

    def __init__(self, alpha: float = 0.01) -> None:
        if not alpha > 0:
            raise ValueError(f"alpha={alpha} must be greater than 0")
        self.alpha = alpha

    def past(self, phase: Phase) -> Tensor:
        """Return h_k ``[size]``, which starts at 0."""
        return phase.client.tensors.get(PAST, torch.zeros(size(phase.client.model)))

    def correction(self, phase: Phase) -> tuple[Tensor, float]:
        """Return ``alpha_k h_k`` and ``alpha_k = alpha * mean samples / samples``."""
        own = len(phase.bench.private(phase.index)[1])  # as the mean counts: privacy may use fewer
        alpha = self.alpha * float(phase.options[MEAN_SAMPLES]) / max(1, own)
        return alpha * self.past(phase), alpha

    def after(self, phase: Phase, moved: Tensor, steps: int) -> dict[str, Tensor]:
        """Return ``h_k + w_k - w_start``."""
        del steps
        return {PAST: self.past(phase) + moved}
