"""FedHeNN: clients of any architecture shall see samples alike.

Makhija, Han, Ho, Ghosh, "Architecture Agnostic Federated Learning for Neural Networks", ICML 2022,
arXiv 2202.07757 (FedHeNN). Confidence: certain (official code)::

    K_n   = R_n R_n'                       R_n [L, d]: client n's features of L samples
    Kbar  = mean over n of K_n
    loss  = CE + eta sqrt(t) * (1 - CKA(K_n, Kbar))            eta = 0.01, t: rounds before this
    CKA(X, Y) = <HXH, HYH> / (|HXH| |HYH|),   H = I - 11'/L

Kernels go up after a fit, their mean down for the next one, in which the samples pass through the
net in every step. They are the round's first L transfer samples (new ones each round with
``transfer.per_round``): the official ones are drawn from the clients' pooled private data, which
nobody may have here. Who was away is sent the newest mean before its fit, and the numbers of the
samples that it is about. L is 1,000 there.

Deviations. The mean is that of the round before, of models after their fits. A net sees the samples
in evaluation mode: they move no BatchNorm statistics. At the end the official clients train on for
10 epochs, and the last 10 rounds are averaged; here the last round counts.

Traps. The mean is no part of a client's gradient (the official code keeps the graphs of all nets).
A public port adds ``+CKA``, so clients are pushed apart, and has kernels of the kernels.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..config import RunConfig
from ..knowledge import KnowledgeStack, Teacher
from ..rounds.protocol import RoundPlan
from ..rounds.timing import Workload
from ..tasks.rows import samples_at
from .classwise import Newest


class FedHeNN(Newest):
    """Aligns how clients see transfer samples with how they do on average.

    Parameters
    ----------
    eta : float
        Weight of that in the private loss, >= 0; it grows with the root of the rounds so far.
    images : int
        L, samples that all look at, at least 2.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        See `Newest`, and ``seen`` ``[L]``: the samples that the newest mean is about.

    Examples
    --------
    >>> import torch
    >>> values = torch.stack([torch.eye(2), 3 * torch.eye(2)])
    >>> FedHeNN().fuse(KnowledgeStack("kernels", values, [0, 1], torch.arange(0)))
    tensor([[2., 0.],
            [0., 2.]])
    """

    exchange = "kernels"
    taught = "kernels"
    kinds = None
    sums_only = True
    uses_transfer = True

    def __init__(self, eta: float = 0.01, images: int = 200, **base: float | None) -> None:
        super().__init__(**base)
        if images < 2:
            raise ValueError(f"images={images} must be at least 2")
        self.eta, self.images, self.batch_size = eta, images, 1

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its weight."""
        return {"name": self.exchange, "eta": self.eta}

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Note how many samples a step has, beside the images."""
        del models
        self.batch_size = config.fit.batch_size
        return []

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return all samples, with the images in each step from the second round on."""
        steps = 1 + self.images / self.batch_size * (number > 1)
        return [Workload(size, steps=steps) for size in sizes]

    def asked(self, plan: RoundPlan) -> Tensor:
        """Return the round's first samples, by their numbers."""
        return samples_at(plan.sample_ids, plan.server.each)[: self.images]

    def fit_options(self, plan: RoundPlan) -> dict[str, Any]:
        """Return which samples the kernels are about that come, and the one that is there."""
        there = {"seen": self.state["seen"].tolist()} if self.state else {}
        return {"images": self.asked(plan).tolist(), **there}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean kernel ``[L, L]``."""
        return knowledge.values.mean(dim=0)

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Remember which samples it is about."""
        del knowledge
        self.state["seen"] = self.asked(plan)
        return teacher
