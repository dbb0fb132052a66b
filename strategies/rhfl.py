"""RHFL: clients with wrong labels count less, and learn by a loss that minds wrong labels less.

Fang, Ye, "Robust Federated Learning with Noisy and Heterogeneous Clients", CVPR 2022 (RHFL).
Confidence: certain (official code)::

    private loss   0.1 CE + RCE        RCE = -sum_c p_c ln(max(onehot_c, 1e-4))
    Q_m          = (L_m before - L_m) / L_m              L_m: client m's private loss
    w_m          = softmax over m of ( beta * Q_m / sum_k Q_k )                 beta = 0.5
    client n     : sum over m != n of w_m KL( p_m || p_n )

The client's sum has the gradient of ``(1 - w_n) KL( teacher_n || p_n )``, with teacher_n the mean
of the others' soft labels p_m by their weights, made to sum to 1; only that is sent.

Deviations. The factor 1 - w_n is left out. L_m is measured after the fit, on all of a client's
samples. Who has no loss from an earlier round counts as the mean of those who have one; who was
away is compared with the last round that it was in. A client that is alone learns from itself.
RCE's gradient is several times that of CE, and official steps are Adam's at 1e-3: at the default
``fit.lr`` clients learn slowly, with evenly dealt MNIST faster at a tenth of it.

Traps. ``sum_k Q_k`` near or below 0 blows the weights up or turns them around: a Q below 0 is 0
here, and if all are, all weigh the same. The public code drops a client's own weight without making
the others sum to 1, so clients learn less the fewer there are. It makes a new Adam for every batch,
which has no memory then; here it lasts a phase.
"""

from math import inf
from typing import Any

import torch
from torch import Tensor

from ..knowledge import KnowledgeStack, Teacher
from ..rounds.protocol import RoundPlan
from .base import FusionStrategy

SMALL = 1e-12
"""The least that is divided by."""


class RHFL(FusionStrategy):
    """Weights the others by how fast their private loss falls.

    Parameters
    ----------
    beta : float
        How much that counts, >= 0; 0 is the mean of the others.
    ce, rce : float
        Weights of cross-entropy and reverse cross-entropy in the private loss, >= 0.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        ``losses`` ``[all clients]``, each one's last private loss; -1 = none.

    Examples
    --------
    >>> strategy, now = RHFL(), {"loss": torch.tensor([[0.5], [0.8], [1.0]])}
    >>> strategy.state["losses"] = torch.ones(3)
    >>> soft = torch.full((3, 1, 2), 0.5)
    >>> strategy.weights(
    ...     KnowledgeStack("soft_labels", soft, [0, 1, 2], torch.arange(1), extras=now)
    ... )
    tensor([[0.0000, 0.5250, 0.4750],
            [0.5987, 0.0000, 0.4013],
            [0.5744, 0.4256, 0.0000]])
    """

    exchange = "symmetric_labels"
    personalised = True

    def __init__(
        self, beta: float = 0.5, ce: float = 0.1, rce: float = 1.0, **base: float | None
    ) -> None:
        super().__init__(**base)
        for name, value in {"beta": beta, "ce": ce, "rce": rce}.items():
            if not 0 <= value < inf:
                raise ValueError(f"{name}={value} must be at least 0 and finite")
        self.beta, self.loss = beta, {"alpha": ce, "beta": rce}

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with the weights of the private loss."""
        return {"name": self.exchange, **self.loss}

    def weights(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the others' weights ``[clients, clients]``, 0 for a client's own."""
        loss, n = knowledge.extras["loss"].flatten(), len(knowledge.clients)
        if n == 1:
            return torch.ones(1, 1)
        before = self.state["losses"][knowledge.clients] if self.state else torch.full((n,), -1.0)
        scores = (self.beta * progress(before, loss)).expand(n, n).clone()
        return scores.fill_diagonal_(-torch.inf).softmax(dim=-1).float()

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Remember the losses; those of absent clients stay as they are."""
        losses = self.state.get("losses", torch.full((plan.server.clients,), -1.0)).clone()
        losses[knowledge.clients] = knowledge.extras["loss"].flatten()
        self.state["losses"] = losses
        return teacher


def progress(before: Tensor, now: Tensor) -> Tensor:
    """Return each client's share of the relative fall of losses, ``[n]`` float64 in [0, 1].

    Parameters
    ----------
    before, now : Tensor
        ``[n]`` losses, at least 0; -1 where there was none before.

    Examples
    --------
    >>> progress(torch.tensor([1.0, 1.0, 1.0, -1.0]), torch.tensor([0.5, 0.8, 2.0, 1.0]))
    tensor([0.6000, 0.1500, 0.0000, 0.2500], dtype=torch.float64)
    """
    before, now = before.double(), now.double().clamp_min(SMALL)
    known = before >= 0
    quality = ((before - now) / now).clamp_min(0)
    mean = quality[known].mean() if known.any() else torch.zeros(()).double()
    quality = torch.where(known, quality, mean)
    return quality / quality.sum().clamp_min(SMALL)
