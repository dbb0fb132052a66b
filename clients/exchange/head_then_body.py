"""Bodies that are trained after their heads: FedRep."""

from typing import Any

from ...models.parts import still
from ..asked import fitted
from .base import Phase
from .body import Body


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

    def fit(self, phase: Phase) -> dict[str, float]:
        """Train the head, then the body; return the mean loss over both."""
        model, total = phase.client.model, int(phase.loop.fit_config["epochs"])
        below, above = self.part(model), self.above(model)
        turns = (below, total - self.body_epochs), (above, self.body_epochs)
        losses, numbers = 0.0, dict[str, float]()
        for fixed, epochs in turns:
            phase.client.epochs = epochs
            with still(model, fixed):
                numbers = fitted(phase.loop, phase.client)
            losses += numbers.get("loss_fit", 0.0) * epochs
        phase.client.epochs = None
        return numbers | {"loss_fit": losses / max(total, 1)}
