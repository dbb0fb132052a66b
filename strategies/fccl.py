"""FCCL: what clients say of a class shall go together, and what they knew shall not be forgotten.

Huang, Ye, Du, "Learn from Others and Be Yourself in Heterogeneous Federated Learning", CVPR 2022
(FCCL). Confidence: certain (official code)::

    teacher(x)     = mean over n of f_n(x)                              logits, the client's own too
    public loss    = cross-correlation of f_n and the teacher (`fedkd.distillation`)
    private loss   = CE + first * KL( first net || net ) + previous * KL( previous net || net )

The previous net is the client's after its last fit, before it learnt from others. The first one is
pre-trained on private data: in the official code before there are rounds, here in a client's first
fit, which has ``pretraining`` epochs (their number is ours) and nothing to recall yet. A client
that was away keeps its nets.

Deviations. A round is private training and then the public step, where the official one has them
the other way round, so here the own part of the teacher is the net right before the public step.
There all nets see each public batch together, which takes all clients; here they upload their
logits once a round. Trap avoided: a new Adam for every batch has no memory; here it lasts a phase.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..config import RunConfig
from ..knowledge import KnowledgeStack
from ..rounds.timing import Workload
from .base import FusionStrategy


class FCCL(FusionStrategy):
    """Mean logits, learnt from by cross-correlation; earlier nets teach on private data.

    Parameters
    ----------
    first, previous : float
        Weights of the two earlier nets in the private loss, >= 0.
    pretraining : int
        Epochs of a client's first fit, at least 1; the others have ``fit.epochs``.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[[2.0, 0.0]], [[0.0, 4.0]]])
    >>> FCCL().fuse(KnowledgeStack("logits", logits, [0, 1], torch.arange(1)))
    tensor([[1., 2.]])
    """

    exchange = "recalled_logits"
    objective = "cross_correlation"
    per_sample = True
    sums_only = True

    def __init__(
        self,
        first: float = 1.0,
        previous: float = 1.0,
        pretraining: int = 20,
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        self.recall = {"first": first, "previous": previous, "pretraining": pretraining}
        self.longer = 1.0

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Note how many times longer the first fit is than the others."""
        del models
        self.longer = self.recall["pretraining"] / max(1, config.fit.epochs)
        return []

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return all samples, with what the first fit takes, or the two nets' forward passes."""
        steps, passes = (self.longer, 0.0) if number == 1 else (1.0, 2.0)
        return [Workload(size, steps, passes) for size in sizes]

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its weights."""
        return {"name": self.exchange, **self.recall}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean ``[samples, classes]``."""
        return knowledge.mean()
