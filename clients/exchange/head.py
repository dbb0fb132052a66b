"""The head alone, a model's last linear layer: what is below it stays with the client."""

from collections.abc import Mapping

from torch import Tensor, nn

from ...knowledge import Target
from ...models.features import head, headless
from ...models.flat import flatten, size, unflatten
from .base import Phase
from .parameters import Parameters


class Head(Parameters):
    """Uploads the weight and bias of the last linear layer ``[size]``; a teacher replaces them."""

    from_model = True

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(size,)`` of the head."""
        del samples, classes
        return (size(head(model)),)

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models without a linear layer."""
        found = headless(models)
        return found and f"shares the last linear layer, and {found}"

    def vector(self, phase: Phase) -> Tensor:
        """Return the head's parameters."""
        return flatten(head(phase.client.model))

    def receive(self, phase: Phase, target: Target) -> None:
        """Take over the server's head."""
        unflatten(head(phase.client.model), target.values)
