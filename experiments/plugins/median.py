"""A fusion rule in one line: ``fedkd run strategy=experiments/plugins/median.py:Median``."""

from fedkd.strategies import FusionStrategy
from torch import Tensor

from fedkd.knowledge import KnowledgeStack


class Median(FusionStrategy):
    """Coordinate-wise median of the clients' soft labels.

    Source: Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018, applied to soft labels.
    A median of points on the simplex need not be on it; the base normalises its rows.
    """

    per_sample = True

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the teacher ``[samples, classes]``."""
        return knowledge.soft_labels.median(dim=0).values
