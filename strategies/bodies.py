"""Base of the methods whose clients share what is below their models' heads."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..models.parts import body
from ..rounds.timing import Workload
from .starting import CommonStart


class BodyFusion(CommonStart):
    """Averages bodies: all of a model but its last linear layer, statistics of BatchNorm included.

    Models whose bodies have one layout form a group.

    Parameters
    ----------
    **base
        See `CommonStart`.
    """

    exchange = "body"
    parts = "bodies"

    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the body."""
        return body(model)


class TunedBodies(BodyFusion):
    """Averages bodies of clients that may fine-tune their model before it is measured.

    Parameters
    ----------
    tune : int
        Epochs of fine-tuning on a client's private data, at least 0, whenever it is measured. What
        is measured is the fine-tuned copy; models, uploads and `RunResult.model` are without it.
    **base
        See `BodyFusion`.
    """

    def __init__(self, tune: int = 0, **base: Any) -> None:
        super().__init__(**base)
        self.pass_on(tune=tune)

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return what clients fit, and for how many epochs they are tuned when measured."""
        del number
        return [Workload(size, tuning=self.passed_on["tune"]) for size in sizes]
