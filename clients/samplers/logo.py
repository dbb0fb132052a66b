"""LoGo: diverse for the client, uncertain for the server.

Kim et al., CVPR 2023, and its public code. Confidence: certain. With the model "alone" (trained
from scratch on the client's labels only) giving p and features h, and b the budget::

    macro   k-means with b clusters on e_x = h(x) * (1 - max_y p_y(x))
    micro   in each cluster, the sample with the largest entropy under the global model

k-means is scikit-learn's with the best of ten starts, as its default was for the public code. Where
it finds fewer than b clusters, the most uncertain of the other samples fill up. Deviations: the
public code fills up cluster by cluster, and its picks are in no particular order; ours are in the
order of their entropy.
"""

import torch
from torch import Tensor

from ...maths.acquisition import entropy, least_confidence, ranking
from ...maths.clusters import k_means
from .base import Pool, Sampler

STARTS = 10
"""Starts of k-means; the one with the smallest inertia counts."""


class LoGo(Sampler):
    """One sample a cluster of the local model: the one that the global model doubts most.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 5.0], [0.1, 0.0], [9.0, 5.0], [9.1, 0.0]])  # place, certainty
    >>> labelled = torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)
    >>> def predict(which, x):
    ...     certainty = x[:, 1:] if which == "global" else torch.zeros(len(x), 1)
    ...     return torch.cat([certainty, torch.zeros(len(x), 1)], dim=1)
    >>> place = lambda which, x: x[:, :1]
    >>> pool = Pool(x, *labelled, torch.zeros(2), predict, place, torch.Generator())
    >>> sorted(LoGo().pick(pool, 2).tolist())
    [1, 3]
    """

    def choose(self, pool: Pool, budget: int) -> Tensor:
        """Return the most uncertain sample of each cluster."""
        doubt = entropy(pool.logits("global").double().softmax(dim=-1))
        order = ranking(doubt, pool.generator)
        if budget == len(order):  # every sample is a cluster
            return order
        alone = least_confidence(pool.logits("alone").double().softmax(dim=-1))
        points = pool.features("alone").double() * alone.unsqueeze(1)
        seed = int(torch.randint(2**31, (), generator=pool.generator))
        groups = k_means(points, budget, STARTS, seed)[0][order].tolist()
        first = {group: place for place, group in reversed(list(enumerate(groups)))}
        best = torch.zeros(len(order), dtype=torch.bool)
        best[list(first.values())] = True
        return torch.cat([order[best], order[~best]])[:budget]
