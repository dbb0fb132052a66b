"""KSAS: ask where the local and the global model disagree about what the client knows.

Knowledge-Specialised Active Sampling of KAFAL: Cao, Shi, Yu, Wang, Tao, "Knowledge-Aware Federated
Active Learning with Non-IID Data", ICCV 2023, arXiv 2211.13579. Confidence: certain (official code
and its Algorithm 1). With logits f (local model, before the broadcast overwrites it) and g (global
model), and n_y labelled samples of class y::

    P = softmax(f + tau * log n),  Q = softmax(g + tau * log n)           published: tau = 1
    score(x) = 1/2 * (KL(P || Q) + KL(Q || P)) = 1/2 * sum_y (P_y - Q_y) (f_y - g_y)

Frequent labelled classes are amplified; a class without labels contributes exactly 0. The published
expression computes the two divergences, and is NaN for *every* sample once one class has no labels
(0 * -inf in current PyTorch), so that its top-k is an arbitrary slice: KSAS without saying so
became random. The right-hand side is what was meant, and equal where all n_y > 0.

`prior_eps` is an addition: it is added to n, so that classes without labels can contribute.
"""

import math

from torch import Tensor

from ...maths.acquisition import discrepancy
from .base import Pool, ScoreSampler


class KSAS(ScoreSampler):
    """Largest disagreement of local and global model first, weighted towards labelled classes.

    With a single labelled class all scores are 0 and the picks are random; so they are where a
    client has never had a global model (the tables count such clients: ``unheard``).

    Parameters
    ----------
    tau : float
        Strength of the prior, >= 0. At 0 there is none and all classes contribute, labelled or not.
    prior_eps : float
        Added to the number of labels of each class, >= 0.

    Examples
    --------
    >>> import torch
    >>> x, g = torch.tensor([[0.0, 0.0], [0.0, 2.0], [9.0, 8.0]]), torch.Generator()
    >>> labelled = torch.zeros(2, 2), torch.tensor([0, 1])
    >>> def predict(which, x):
    ...     return x if which == "local" else 0 * x
    >>> pool = Pool(x, *labelled, torch.tensor([1, 1]), predict, None, g)
    >>> KSAS().pick(pool, 2)
    tensor([1, 2])
    """

    def __init__(self, tau: float = 1.0, prior_eps: float = 0.0) -> None:
        for name, value in {"tau": tau, "prior_eps": prior_eps}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}={value} must be at least 0 and finite")
        self.tau, self.prior_eps = tau, prior_eps

    def score(self, pool: Pool) -> Tensor:
        """Return the discrepancy."""
        local, other = pool.logits("local"), pool.logits("global")
        return discrepancy(local, other, pool.counts, self.tau, self.prior_eps)
