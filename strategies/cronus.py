"""Cronus: the spectral filter twice, sized for the largest hostile minority.

Chang, Shejwalkar, Shokri, Houmansadr, "Cronus: Robust and Heterogeneous Collaborative Learning with
Black-Box Knowledge Transfer", arXiv 1912.11279.

Confidence: certain (as re-implemented for Roux, Zimmer, Pokutta, ICLR 2025, arXiv 2402.12265), per
sample, with n clients of which at most b are hostile::

    b = n/2 - 1 if n is even, else floor(n/2)          q = 1 - b / (2n)
    1. keep the int(q * n) clients with the smallest outlier scores
    2. score those again, keep the ones up to the q-quantile (the next higher score)
    teacher = mean of F_n over the clients that are left

Outlier scores are those of `spectral_filter`. Where the last places fall among clients with tied
scores, these share them, so that the order of the clients does not matter (ours). What clients do
with the teacher (distillation after private training) is the common round.
"""

from torch import Tensor

from ..knowledge import KnowledgeStack
from ..maths.robust import keep_smallest, on_simplex, outlier_scores, weighted_mean
from .base import FusionStrategy


class Cronus(FusionStrategy):
    """Robust mean by filtering outliers twice; it has nothing to tune.

    Examples
    --------
    >>> import torch
    >>> labels = torch.tensor([[[0.8, 0.2]], [[0.7, 0.3]], [[0.0, 1.0]]])
    >>> Cronus().fuse(KnowledgeStack("soft_labels", labels, [0, 1, 2], torch.arange(1)))
    tensor([[0.7500, 0.2500]])
    """

    per_sample = True

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the robust mean ``[samples, classes]``."""
        values = knowledge.soft_labels
        first, second = kept_counts(len(values))
        kept = keep_smallest(outlier_scores(values), first)
        kept = keep_smallest(outlier_scores(values, kept), second, kept)
        return on_simplex(weighted_mean(values, kept), values.mean(dim=0))


def kept_counts(clients: int) -> tuple[int, int]:
    """Return how many clients (of at least 1) each of the two steps keeps, in exact arithmetic.

    Examples
    --------
    >>> [kept_counts(n) for n in (1, 2, 3, 20)]
    [(1, 1), (2, 2), (2, 2), (15, 12)]
    """
    hostile = (clients - 1) // 2
    first = clients - (hostile + 1) // 2  # int(n - b/2)
    # the place of the q-quantile, rounded up, among places 0 to first - 1
    place = -(-(2 * clients - hostile) * (first - 1) // (2 * clients))
    return first, place + 1
