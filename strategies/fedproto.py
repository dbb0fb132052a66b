"""FedProto: clients exchange the mean features of each class; no transfer set.

Tan, Long, Liu, Zhou, Lu, Jiang, Zhang, "FedProto: Federated Prototype Learning across Heterogeneous
Clients", AAAI 2022, arXiv 2105.00243. Confidence: certain (official code, one re-implementation)::

    P_n[c] = mean of h_n(x) over client n's samples of class c       h: what the last layer is fed
    P[c]   = mean of P_n[c] over the clients that have c
    loss_n = CE(f_n(x), y) + weight * MSE(h_n(x), P[y])
    label  = argmin_c || h_n(x) - P[c] ||^2

The official code averages clients evenly; weighting them by how many samples of c they have is an
option, and uploads those counts. weight is 1 in the official options; a re-implementation names 10.

Deviation: models may differ in width, where the paper's all have one. Their features are averaged
(or repeated) to `dim` numbers, which costs what averaging costs: nothing makes the features of
different architectures agree but the loss. A class that nobody had in a round keeps no prototype,
and is not predicted.
"""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from ..config import RunConfig
from ..knowledge import KnowledgeStack
from ..models.features import common_width
from .classwise import ClassFusion

DIM = 64
"""Features of a prototype where models differ in theirs."""


class FedProto(ClassFusion):
    """Mean features per class, as targets of private training and for inference.

    Parameters
    ----------
    weight : float
        Weight of the distance to the prototypes, >= 0.
    dim : int or None
        Features of a prototype, at least 1; None = as many as all models have, or 64 where they
        differ.
    weighting : {"uniform", "counts"}
        Whether clients count evenly, or by their samples of the class.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> means = torch.tensor([[[1.0], [0.0]], [[3.0], [5.0]]])
    >>> has = torch.tensor([[True, False], [True, True]])
    >>> none = torch.zeros(0, dtype=torch.int64)
    >>> FedProto(dim=1).fuse(KnowledgeStack("class_knowledge", means, [0, 1], none, has))
    tensor([[2.],
            [5.]])
    """

    exchange = "prototypes"
    sums_only = True

    def __init__(
        self,
        weight: float = 1.0,
        dim: int | None = None,
        weighting: Literal["uniform", "counts"] = "uniform",
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        self.weight, self.dim, self.weighting = weight, dim, weighting
        self.width = DIM if dim is None else dim

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        counts = self.weighting == "counts"
        return {"name": self.exchange, "weight": self.weight, "dim": self.width, "counts": counts}

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Choose the width of prototypes, if none is given."""
        del config
        self.width, notes = settled_width(self.dim, models)
        return notes

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the prototypes ``[classes, dim]``, 0 for a class that nobody has."""
        assert knowledge.mask is not None
        share = knowledge.mask.float()
        if self.weighting == "counts":
            share = share * knowledge.counts
        share = share / share.sum(dim=0).clamp_min(1)
        return (share.unsqueeze(-1) * knowledge.values).sum(dim=0)


def settled_width(dim: int | None, models: Sequence[nn.Module]) -> tuple[int, list[str]]:
    """Return how many features prototypes have, and a note on it if nobody has said so.

    Examples
    --------
    >>> settled_width(None, [nn.Linear(8, 2), nn.Linear(8, 2)])
    (8, ['strategy.dim: prototypes have 8 features, as all models do'])
    >>> settled_width(32, [nn.Linear(8, 2)])
    (32, [])
    """
    if dim is not None:
        return dim, []
    width = common_width(models)
    why = "as models differ in theirs" if width is None else "as all models do"
    width = DIM if width is None else width
    return width, [f"strategy.dim: prototypes have {width} features, {why}"]
