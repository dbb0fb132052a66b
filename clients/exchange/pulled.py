"""Ditto at the client: the shared model is trained, then an own one that is pulled towards it."""

from ...models.flat import flatten
from ..asked import fitted
from ..standard import proximal_term
from .phase import Phase
from .second_model import SHARED, Beside


class Pulled(Beside):
    """Fits the shared model, then the own with ``lam / 2 * ||v - w||^2``, w as it was sent.

    Parameters
    ----------
    lam : float
        Weight of the pull, at least 0.
    """

    def __init__(self, lam: float = 1.0) -> None:
        if not lam >= 0:
            raise ValueError(f"lam={lam} must be at least 0")
        self.lam = lam

    def fit(self, phase: Phase) -> dict[str, float]:
        """Train both on the same batches; return the own model's loss, and the shared one's."""
        client = phase.client
        shared, drawn = self.shared(phase), client.generator.get_state()
        pull = proximal_term(client.model, self.lam, shared)
        with client.standing(shared):
            told = fitted(phase.loop, client)
        client.tensors[SHARED] = flatten(shared)
        client.generator.set_state(drawn)
        client.extra_loss = lambda logits, labels: pull()
        try:
            numbers = fitted(phase.loop, client)
        finally:
            client.extra_loss = None
        return numbers | {"loss_shared": told["loss_fit"]}
