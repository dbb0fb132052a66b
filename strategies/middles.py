"""Base of methods whose teacher lies in the middle of what clients say of each sample."""

from torch import Tensor

from ..knowledge import CLASS_SCORES, NUMBERS, KnowledgeStack
from ..maths.robust import on_simplex
from .base import FusionStrategy


class MiddleFusion(FusionStrategy):
    """Override `middle`. Of class scores it is taken of soft labels, and put back on the simplex.

    Of predictions of numbers it is taken as they are, means and variances each by itself.
    """

    per_sample = True
    kinds = (*CLASS_SCORES, *NUMBERS)

    def middle(self, values: Tensor) -> Tensor:
        """Return the middle ``[samples, k]`` of ``[clients, samples, k]``."""
        raise NotImplementedError(f"{type(self).__name__} must define middle()")

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the middle of each sample, ``[samples, classes]`` or ``[samples, targets]``."""
        if knowledge.kind not in CLASS_SCORES:
            return self.middle(knowledge.values).float()
        values = knowledge.soft_labels
        return on_simplex(self.middle(values), values.mean(dim=0))
