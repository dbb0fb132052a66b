"""The body: all of a model below its head, the last linear layer, which stays with the client."""

from contextlib import AbstractContextManager
from typing import Any, Literal

from torch import Tensor, nn

from ...models.features import headless
from ...models.parts import body, others
from ..tuning import tuned
from .phase import Phase
from .shared_part import Part

Tuned = Literal["model", "head", "body"]
"""What a client fine-tunes before it is measured."""


class Body(Part):
    """Uploads what is below the head ``[size]``; the whole model is trained at once (FedPer).

    Parameters
    ----------
    tune : int
        Epochs for which a client fine-tunes a copy of its model on its private data before it is
        measured, at least 0. Nobody is sent the copy, and nothing of it is kept.
    tuned : {"model", "head", "body"}
        What is fine-tuned.
    **base
        See `Part`.
    """

    def __init__(self, tune: int = 0, tuned: Tuned = "model", **base: Any) -> None:
        super().__init__(**base)
        if tune < 0:
            raise ValueError(f"tune={tune} must be at least 0")
        self.tune, self.tuned = tune, tuned

    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the body."""
        return body(model)

    def above(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the head, by its names in the whole model."""
        return others(model, body(model))

    def unfit(self, model: nn.Module) -> tuple[str, str] | None:
        """Refuse a model without a linear layer, or with nothing below it."""
        does, found = "shares what is below the last linear layer", headless({"": model})
        if found is not None:
            return does, found.strip()
        return None if body(model) else (does, "has nothing there")

    def measuring(self, phase: Phase) -> AbstractContextManager[None]:
        """Have a fine-tuned copy stand for the model."""
        model = phase.client.model
        fixed = {"model": {}, "head": self.part(model), "body": self.above(model)}
        return tuned(phase, self.tune, fixed[self.tuned])
