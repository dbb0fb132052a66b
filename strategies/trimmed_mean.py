"""Trimmed mean: class by class, without the smallest and the largest values.

Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates", ICML 2018 (there of gradients; of soft labels here).

Confidence: certain. Per sample, with ``k = floor(trim * n)``, then scaled to sum 1::

    m_c = mean of F_n,c over the n - 2k clients that have neither one of the k smallest values of
          class c nor one of the k largest

A sample where nothing but zeros is left, as when no two clients agree, gets the plain mean (ours).
"""

from torch import Tensor

from ..maths.robust import trimmed
from .middles import MiddleFusion


class TrimmedMean(MiddleFusion):
    """Mean of each class's probability without its extremes, renormalised.

    Parameters
    ----------
    trim : float
        Share of the clients dropped at either end, in [0, 0.5): at least the share of hostile ones.
        0 is the plain mean.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> from fedkd.knowledge import KnowledgeStack
    >>> labels = torch.tensor([[[0.8, 0.2]], [[0.6, 0.4]], [[0.0, 1.0]]])
    >>> stack = KnowledgeStack("soft_labels", labels, [0, 1, 2], torch.arange(1))
    >>> TrimmedMean(trim=0.4).fuse(stack)
    tensor([[0.6000, 0.4000]])
    """

    def __init__(self, trim: float = 0.2, **base: float | None) -> None:
        super().__init__(**base)
        if not 0 <= trim < 0.5:
            raise ValueError(f"trim={trim} must be at least 0 and below 0.5")
        self.trim = trim

    def middle(self, values: Tensor) -> Tensor:
        """Return the trimmed mean of each entry."""
        # 0.3 * 10 is just below 3 for a computer.
        drop = int(self.trim * len(values) + 1e-9)
        return trimmed(values, min(drop, (len(values) - 1) // 2))
