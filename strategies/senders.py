"""Base of methods whose clients send soft labels of the samples that they choose themselves."""

from torch import Tensor

from ..knowledge import KnowledgeStack
from .base import FusionStrategy


class SendersMean(FusionStrategy):
    """The mean soft label of each sample over those who sent it."""

    needs_numbers = True
    per_sample = True
    sums_only = True

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean ``[samples, classes]`` over those who sent a sample, 0 for nobody's."""
        assert knowledge.mask is not None
        voters = knowledge.mask.sum(dim=0).clamp_min(1)
        return knowledge.soft_labels.sum(dim=0) / voters.unsqueeze(-1)
