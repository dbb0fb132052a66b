"""FD: clients exchange the mean logits of each label; no transfer set.

Jeong, Oh, Kim, Park, Bennis, Kim, "Communication-Efficient On-Device Machine Learning: Federated
Distillation and Augmentation under Non-IID Private Data", 2018, arXiv 1811.11479. Confidence:
certain (two public implementations); that a client's own mean is left out is inferred, and so an
option::

    G_n[c] = mean of f_n(x) over client n's samples of label c
    G[c]   = mean of G_n[c] over the clients that have c
    loss_n = CE(f_n(x), y) + weight * CE(f_n(x), softmax(G[y]))

The means are taken after local training, where the original accumulates them during it.
"""

from typing import Any

import torch
from torch import Tensor

from ..knowledge import KnowledgeStack
from .classwise import ClassFusion


class FD(ClassFusion):
    """Mean logits per label, as a second target of private training.

    Parameters
    ----------
    weight : float
        Weight of the distillation term, >= 0.
    include_self : bool
        Whether a client's own means count in its teacher. If not, it keeps its own for a class
        that nobody else has, and who was away gets the mean over all who were there.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> means = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 2.0]]])
    >>> has = torch.tensor([[True, False], [True, True]])
    >>> none = torch.zeros(0, dtype=torch.int64)
    >>> FD().fuse(KnowledgeStack("class_knowledge", means, [0, 1], none, has))
    tensor([[2., 0.],
            [0., 2.]])
    """

    exchange = "class_logits"
    sums_only = True

    def __init__(
        self, weight: float = 1.0, include_self: bool = True, **base: float | None
    ) -> None:
        super().__init__(**base)
        self.weight, self.include_self = weight, include_self
        self.sums_only = include_self  # else each client has a teacher of its own

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its weight."""
        return {"name": self.exchange, "weight": self.weight}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the means ``[classes, classes]``, or one for each client."""
        assert knowledge.mask is not None
        has = knowledge.mask.float().unsqueeze(-1)
        sums, counts = knowledge.values.sum(dim=0), has.sum(dim=0)
        if self.include_self:
            return sums / counts.clamp_min(1)
        others = (sums - knowledge.values) / (counts - has).clamp_min(1)
        return torch.where(counts > has, others, knowledge.values)
