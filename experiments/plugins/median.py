"""A fusion rule in one line: ``fedkd run strategy=experiments/plugins/median.py:Median``."""

from torch import Tensor

from fedkd.knowledge import KnowledgeStack
from fedkd.strategies import FusionStrategy


class Median(FusionStrategy):
    """Coordinate-wise median of the clients' soft labels, renormalised.

    Source: Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018, applied to soft labels.
    The median of points on the simplex need not be on it, hence the division.
    """

    per_sample = True

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the teacher ``[samples, classes]``."""
        middle = knowledge.soft_labels.quantile(0.5, dim=0)
        return middle / middle.sum(dim=-1, keepdim=True).clamp_min(1e-12)
