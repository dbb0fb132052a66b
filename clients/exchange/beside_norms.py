"""All of a model but its BatchNorm layers, which stay with the client."""

from torch import Tensor, nn

from ...models.parts import BATCH_NORMS, unnormalised
from .shared_part import Part


class BesideNorms(Part):
    """Uploads all but the parameters and statistics of BatchNorm ``[size]``.

    Parameters
    ----------
    **base
        See `Part`.
    """

    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what is in no BatchNorm."""
        return unnormalised(model)

    def unfit(self, model: nn.Module) -> tuple[str, str] | None:
        """Refuse a model without BatchNorm, or with nothing else."""
        does = "shares all but BatchNorm"
        if not any(isinstance(layer, BATCH_NORMS) for layer in model.modules()):
            return does, "has none: use a model that has, such as resnet8, or strategy=fedavg"
        return None if unnormalised(model) else (does, "has nothing else")
