"""One mixture of the mean features of all classes, and its shares: FedRE's upload."""

import torch
from torch import nn

from ...knowledge import Knowledge
from ...models.features import head
from .parameters import NO_SAMPLES
from .phase import Phase
from .scoring import feature_means
from .taught_head import TaughtHead


class EntangledMeans(TaughtHead):
    """Uploads ``sum_c r_c p_c`` ``[1, dim]`` and r, drawn anew each time; a head comes back."""

    masked = False

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(1, dim)``."""
        del samples, classes
        return 1, head(model).in_features

    def extras(self, model: nn.Module, classes: int) -> dict[str, tuple[int, ...]]:
        """Declare ``shares`` ``[classes]``: r, which sums to 1."""
        del model
        return {"shares": (classes,)}

    def upload(self, phase: Phase) -> Knowledge:
        """Return a mixture of the classes that the client has."""
        means, present = feature_means(phase)
        drawn = torch.rand(phase.classes, generator=phase.client.generator) * present
        shares = drawn / drawn.sum().clamp_min(torch.finfo(drawn.dtype).tiny)
        mixed, extras = (shares @ means).unsqueeze(0), {"shares": shares}
        return Knowledge(phase.index, self.kind, mixed, NO_SAMPLES, extras=extras)
