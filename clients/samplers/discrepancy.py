"""Discrepancy: ask where the local and the global model disagree, KSAS without its prior.

An ablation of KSAS (see there), not a published method. With P = softmax(f) of the local and
Q = softmax(g) of the global model::

    score(x) = 1/2 * (KL(P || Q) + KL(Q || P))          over all classes, labelled or not
"""

from torch import Tensor

from ...maths.acquisition import discrepancy
from .base import Pool, ScoreSampler


class Discrepancy(ScoreSampler):
    """Largest disagreement of local and global model first; the same as KSAS with tau = 0.

    Examples
    --------
    >>> import torch
    >>> x, g = torch.tensor([[0.0, 0.0], [0.0, 2.0], [9.0, 8.0]]), torch.Generator()
    >>> labelled = torch.zeros(2, 2), torch.tensor([0, 0])
    >>> def predict(which, x):
    ...     return x if which == "local" else 0 * x
    >>> pool = Pool(x, *labelled, torch.tensor([2, 0]), predict, None, g)
    >>> Discrepancy().pick(pool, 2)
    tensor([1, 2])
    """

    def score(self, pool: Pool) -> Tensor:
        """Return half the symmetric KL divergence."""
        return discrepancy(pool.logits("local"), pool.logits("global"), pool.counts, tau=0.0)
