"""An objective times a factor: ``distil.weight``."""

from collections.abc import Mapping

from torch import Tensor, nn

from ..knowledge import Target
from .base import Batch, Objective


class Weighted(Objective):
    """What another objective says, times a factor.

    Parameters
    ----------
    inner : Objective
        The run's.
    weight : float
        At least 0.

    Examples
    --------
    >>> import torch
    >>> from fedkd.distillation.l1 import L1
    >>> teacher = Target(torch.tensor([[1.0, 1.5]]), "logits")
    >>> Weighted(L1(), 2.0)(torch.tensor([[1.0, 2.0]]), teacher)
    tensor(0.5000)
    """

    def __init__(self, inner: Objective, weight: float) -> None:
        super().__init__(getattr(inner, "temperature", 1.0))
        self.inner, self.weight = inner, weight
        self.per_sample, self.kinds = inner.per_sample, inner.kinds
        self.needs_labels, self.remembers = inner.needs_labels, inner.remembers
        self.layers, self.one_row, self.most_rows = inner.layers, inner.one_row, inner.most_rows
        self.tells_apart, self.trained_with = inner.tells_apart, inner.trained_with
        self.fewest = inner.fewest

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the weighted loss of one batch."""
        return self.weight * self.inner(student_logits, teacher, batch)

    def tempers(self, kind: str) -> bool:
        """Say whether its temperature plays a part."""
        return self.inner.tempers(kind)

    def unused(self, kind: str) -> dict[str, str]:
        """Return the objective's parameters that change nothing."""
        return self.inner.unused(kind)

    def unused_by(self, models: Mapping[str, nn.Module]) -> dict[str, str]:
        """Return those that change nothing with these models."""
        return self.inner.unused_by(models)

    def looks_at(self, student: nn.Module) -> tuple[str, ...]:
        """Return the layers of this student that the objective looks at."""
        return self.inner.looks_at(student)

    def start(self, student: nn.Module) -> None:
        """Begin a distil phase."""
        self.inner.start(student)

    def progress(self, fraction: float) -> None:
        """Hear how much of the phase is done."""
        self.inner.progress(fraction)
