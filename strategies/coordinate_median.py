"""Coordinate median: every client learns from the class-by-class median of all soft labels.

Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates", ICML 2018; on predictions in Roux, Zimmer, Pokutta, "On the Byzantine-Resilience
of Distillation-Based Federated Learning", ICLR 2025, arXiv 2402.12265.

Confidence: certain (the second paper's code). Per sample, then scaled to sum 1::

    m_c = median over n of F_n,c

Two details are ours: of an even number of clients the two middle values are averaged (the code
takes one of them), and a sample where every class has median 0, as when no two clients agree, gets
the plain mean.
"""

from torch import Tensor

from ..maths.robust import trimmed
from .middles import MiddleFusion


class CoordinateMedian(MiddleFusion):
    """Median of each class's probability, renormalised.

    With hostile clients in the minority, each median lies between two honest values.

    Examples
    --------
    >>> import torch
    >>> from fedkd.knowledge import KnowledgeStack
    >>> labels = torch.tensor([[[0.8, 0.2]], [[0.6, 0.4]], [[0.0, 1.0]]])
    >>> CoordinateMedian().fuse(KnowledgeStack("soft_labels", labels, [0, 1, 2], torch.arange(1)))
    tensor([[0.6000, 0.4000]])
    """

    def middle(self, values: Tensor) -> Tensor:
        """Return the median of each entry."""
        return trimmed(values, (len(values) - 1) // 2)
