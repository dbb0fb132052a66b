"""Soft labels up, the server's model down (our extension of KAFAL): KCFU starts from that model."""

from ...knowledge import Target
from ...models.flat import flatten, unflatten
from ..active import GLOBAL, frozen
from .kcfu_labels import KCFULabels
from .phase import Phase


class KCFUStudent(KCFULabels):
    """Uploads soft labels after a fit on the labelled pool; takes over the server's model.

    Parameters
    ----------
    **labels
        See `KCFULabels`.
    """

    def fit(self, phase: Phase) -> dict[str, float]:
        """Fit on the labelled pool; what the client starts from is the compensation's teacher."""
        teacher = frozen(phase) if phase.options.get("compensate") else None
        return self.update(phase, teacher)

    def receive(self, phase: Phase, target: Target) -> None:
        """Start from the server's model, and remember it."""
        phase.client.tensors[GLOBAL] = flatten(unflatten(phase.client.model, target.values))

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Take over the server's model."""
        self.receive(phase, target)
        return {}
