"""Expert mixture: one shared expert, and for each sample the few clients that know its like.

Dai et al., "DeepSeekMoE: Towards Ultimate Expert Specialization in Mixture-of-Experts Language
Models", 2024, arXiv 2401.06066. Confidence: certain for the layer of the paper (equations 9 to 12),
a construction as a fusion method. The layer, for a token u and routed experts E_i with centroids
e_i, of which the K best are used and **not** renormalised::

    h   = u + sum_shared E_i(u) + sum_routed g_i E_i(u)
    s_i = softmax over i of (u . e_i)           g_i = s_i if it is among the K largest, else 0

Here the mean of all clients is the shared expert and the clients are the routed ones, which add
what they know beyond it. With F_n ``[samples, classes]`` what client n says (soft labels or logits)
and p_n its soft labels::

    shared(x)  = mean_n F_n(x)
    e_n        = mean over x of p_n(x)                            what client n sees a lot of
    u(x)       = p_n(x), the client's own; of one teacher for all (route=shared) mean_n p_n(x)
    s_n(x)     = softmax over n of (beta * u(x) . e_n)
    teacher(x) = shared(x) + sum over the K largest of s_n(x) * (F_n(x) - shared(x))

**Ours** are the centroids (learnt in the paper; features of several architectures have nothing in
common, soft labels have the classes) and the sharpness beta, which is 1 in the paper: soft labels
are short vectors, and s would be nearly uniform. The paper's balance loss trains the router; there
is none to train, so the load of each expert is only logged (``load``, 1 = as many samples as on
average). beta = 0 with all experts is the plain mean.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from ..knowledge import KnowledgeStack
from .mixtures import Mixed, MixingFusion


class ExpertMixture(MixingFusion):
    """The clients' mean, moved towards those that each sample is routed to.

    Parameters
    ----------
    experts : int
        K, routed experts of a sample, at least 1.
    beta : float
        Sharpness of the routing, >= 0.
    route : {"own", "shared"}
        Whether samples are routed for each client by its own soft labels (a teacher each), or by
        all clients' mean (one teacher for all).
    exchange : {"soft_labels", "logits"}
        What clients upload and is mixed.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> values = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> stack = KnowledgeStack("soft_labels", values, [0, 1], torch.arange(1))
    >>> ExpertMixture(beta=0.0, route="shared").fuse(stack)
    tensor([[0.5000, 0.5000]])
    """

    personalised = True

    def __init__(
        self,
        experts: int = 4,
        beta: float = 20.0,
        route: Literal["own", "shared"] = "own",
        exchange: Mixed = "soft_labels",
        **base: Any,
    ) -> None:
        super().__init__(exchange=exchange, **base)
        if experts < 1:
            raise ValueError(f"experts={experts} must be at least 1")
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta={beta} must be at least 0 and finite")
        self.experts, self.beta, self.route = experts, beta, route
        self.personalised = route == "own"

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the teacher ``[samples, classes]``, or with own routes one for each client."""
        values, soft = knowledge.values, knowledge.soft_labels
        shared, centroids = values.mean(dim=0), soft.mean(dim=1)
        if self.route == "shared":
            return self._routed(soft.mean(dim=0), centroids, values, shared)
        return torch.stack([self._routed(own, centroids, values, shared) for own in soft])

    def _routed(self, tokens: Tensor, centroids: Tensor, values: Tensor, shared: Tensor) -> Tensor:
        """Return one teacher ``[samples, classes]``."""
        gates, chosen = routes(tokens, centroids, self.experts, self.beta)
        picked = values[chosen, torch.arange(len(tokens)).unsqueeze(1)]
        rest = (1 - gates.sum(dim=1, keepdim=True)).clamp_min(0)  # no soft label below 0
        return rest * shared + (gates.unsqueeze(-1) * picked).sum(dim=1)

    def round_extras(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        """Log each client's load, by the routes that all share."""
        soft = knowledge.soft_labels
        _, chosen = routes(soft.mean(dim=0), soft.mean(dim=1), self.experts, self.beta)
        counts = torch.bincount(chosen.flatten(), minlength=len(soft))
        return {"load": counts * len(soft) / max(1, chosen.numel())}


def routes(tokens: Tensor, centroids: Tensor, experts: int, beta: float) -> tuple[Tensor, Tensor]:
    """Return the gates of each sample's experts, and which they are, both ``[samples, K]``.

    Parameters
    ----------
    tokens : Tensor
        ``[samples, dim]``.
    centroids : Tensor
        ``[n, dim]``.
    experts : int
        K; all where there are fewer.
    beta : float
        Sharpness, >= 0.

    Examples
    --------
    >>> centroids = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> routes(torch.tensor([[1.0, 0.0]]), centroids, 1, 1.0)
    (tensor([[0.6652]]), tensor([[0]]))
    """
    scores = (beta * tokens) @ centroids.T
    best, chosen = scores.topk(min(experts, len(centroids)), dim=-1)
    return (best - scores.logsumexp(dim=-1, keepdim=True)).exp(), chosen
