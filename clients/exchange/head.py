"""The head alone, a model's last linear layer: what is below it stays with the client."""

from torch import Tensor, nn

from ...models.features import headless
from ...models.parts import top
from .shared_part import Part


class Head(Part):
    """Uploads the weight and bias of the last linear layer ``[size]``; a teacher replaces them.

    Parameters
    ----------
    **base
        See `Part`.
    """

    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the head."""
        return top(model)

    def unfit(self, model: nn.Module) -> tuple[str, str] | None:
        """Refuse a model without a linear layer."""
        found = headless({"": model})
        return None if found is None else ("shares the last linear layer", found.strip())
