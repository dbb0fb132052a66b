"""Bodies that are trained after their heads: FedRep."""

from contextlib import nullcontext
from typing import Any

from ...models.parts import still
from ..asked import fitted
from .body import Body
from .phase import Phase


class HeadThenBody(Body):
    """Uploads what is below the head; a fit trains the head alone, then the body alone.

    Parameters
    ----------
    body_epochs : int
        The last epochs of the fit, at least 1, which are the body's; those before are the head's.
    **base
        See `Body`.
    """

    from_model = True  # nothing is trained but by the loop

    def __init__(self, body_epochs: int = 1, **base: Any) -> None:
        super().__init__(**base)
        if body_epochs < 1:
            raise ValueError(f"body_epochs={body_epochs} must be at least 1")
        self.body_epochs = body_epochs

    def turns(self, total: int) -> tuple[int, int]:
        """Return how many of the epochs are the head's, and how many the body's."""
        return total - self.body_epochs, self.body_epochs

    def fit(self, phase: Phase) -> dict[str, float]:
        """Train the head, then the body, with what `fitting` adds; return the mean loss."""
        model, total = phase.client.model, int(phase.loop.fit_config["epochs"])
        below, above = self.part(model), self.above(model)
        first, then = self.turns(total)
        turns = (below, first, nullcontext()), (above, then, self.fitting(phase))
        losses, numbers = 0.0, dict[str, float]()
        for fixed, epochs, adding in turns:
            phase.client.epochs = epochs
            with still(model, fixed), adding:
                numbers = fitted(phase.loop, phase.client)
            losses += numbers.get("loss_fit", 0.0) * epochs
        phase.client.epochs = None
        return numbers | {"loss_fit": losses / max(total, 1)}
