"""KAFAL's exchange: parameters, fitted to the labelled pool with KCFU (`fedkd.clients.active`)."""

from ...knowledge import Target
from ...models.flat import flatten
from ..active import GLOBAL, ActiveLearner, frozen
from .parameters import Parameters
from .phase import Phase


class KCFU(ActiveLearner, Parameters):
    """Uploads the model after a fit on the labelled pool; takes over the server's.

    Parameters
    ----------
    **active
        See `ActiveLearner`.
    """

    def fit(self, phase: Phase) -> dict[str, float]:
        """Fit on the labelled pool; what the client starts from is the compensation's teacher."""
        teacher = frozen(phase) if phase.options.get("compensate") else None
        return self.update(phase, teacher)

    def receive(self, phase: Phase, target: Target) -> None:
        """Start from the server's model, and remember it."""
        super().receive(phase, target)
        phase.client.tensors[GLOBAL] = flatten(phase.client.model)

    def samples(self, phase: Phase) -> int:
        """Return the number of labelled samples."""
        return len(self.pools(phase).labelled)
