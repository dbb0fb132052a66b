"""Base of the methods whose clients have a model of their own beside one that all share."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..models.flat import floats
from ..rounds.timing import Workload
from .sharing import PartFusion


class TwinFusion(PartFusion):
    """Averages the shared ones of each client's two models; its own starts as the first of these.

    Models of one architecture form a group.

    Parameters
    ----------
    **base
        See `FusionStrategy`.
    """

    parts = "models"

    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return all of a model."""
        return floats(model)

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return all samples, with a step of either model for each batch."""
        del number
        return [Workload(size, steps=2.0) for size in sizes]
