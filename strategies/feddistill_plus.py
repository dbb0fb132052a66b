"""FedDistill+: FedAvg whose clients also learn from everybody's mean logits of each label.

Zhu, Hong, Zhou, "Data-Free Knowledge Distillation for Heterogeneous Federated Learning", ICML 2021,
arXiv 2105.10056, compare with it (``FedDistill-FL`` in their code). Confidence: certain (that
code), but for its faults::

    G_n[c] = mean of f_n(x) over client n's samples of label c
    G[c]   = mean of G_n[c] over the clients that have c
    w      = sum_n samples_n * w_n / sum_n samples_n             for each architecture
    loss_n = CE(f_n(x), y) + weight * KL( softmax(G[y]) || softmax f_n(x) )

The KL is computed as a cross-entropy, which has the same gradient. G is of the round's clients,
whatever their architecture, and a class that none of them has is not learnt from; absent clients
count for nothing, and get both w and G before they next fit.

Deviations. The official code counts labels from 1 and never starts anew: its means shrink, are of
all rounds' models, and a client without a class sends a row of zeros that pulls the mean towards 0.
Here, as in ``fd``, means are of the model as the fit leaves it and of the samples that there are.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..clients.exchange.logits_beside import HALF
from ..knowledge import Knowledge
from ..rounds.protocol import RoundPlan
from ..rounds.server import Server
from .parametric import ParameterFusion


class FedDistillPlus(ParameterFusion):
    """Averaged parameters, and mean logits per label as a second target of private training.

    Parameters
    ----------
    weight : float
        Weight of the distillation term, >= 0.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        See `ParameterFusion`; after its model a vector has G and which classes it is for.

    Examples
    --------
    >>> has = torch.tensor([[3.0, 0.0, 0.0, 0.0, 1.0, 0.0]])  # of two classes the first
    >>> pooled(torch.cat([has, torch.zeros(1, 6)]), classes=2)
    tensor([3., 0., 0., 0., 1., 0.])
    """

    exchange = "logits_beside"
    homogeneous = False
    needs_classes = True

    def __init__(self, weight: float = 1.0, **base: float | None) -> None:
        super().__init__(**base)
        if not weight >= 0:
            raise ValueError(f"weight={weight} must be at least 0")
        self.weight = weight

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its weight."""
        return {"name": self.exchange, "weight": self.weight}

    def first(self, server: Server, client: int) -> Tensor:
        """Return the first model; no class has a mean."""
        nothing = torch.zeros(server.classes * (server.classes + 1))
        return torch.cat([super().first(server, client), nothing])

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Return every architecture's model, also one that was away, with the means of all."""
        rest = plan.classes * (plan.classes + 1)
        means = pooled(torch.stack([one.values[-rest:] for one in admitted]), plan.classes)
        kept = {
            number: self.state[f"shared.{number}"] for number in self.groups(plan.server).values()
        }
        return {
            number: torch.cat([vector[:-rest], means]) for number, vector in (kept | shared).items()
        }


def pooled(tails: Tensor, classes: int) -> Tensor:
    """Return mean logits, and which there are, of clients' ``[n, classes * classes + classes]``."""
    has = tails[:, -classes:] > HALF
    logits = torch.where(has.unsqueeze(-1), tails[:, :-classes].unflatten(1, (classes, -1)), 0.0)
    means = logits.sum(dim=0) / has.sum(dim=0).clamp_min(1).unsqueeze(-1)
    return torch.cat([means.flatten(), has.any(dim=0).float()])
