"""FedPAC: bodies are averaged and aligned by prototypes, heads are mixed for each client.

Xu, Tong, Huang, "Personalized Federated Learning with Feature Alignment and Classifier
Collaboration", ICLR 2023. Confidence: certain (official code)::

    before    p_c = n_c / n of client k; mu_c, E_c: means over c of the received body's features
              v_k = (sum_c p_c E_c |f|^2 - sum_c p_c^2 |mu_c|^2) / n,     H_k[c] = p_c mu_c
    client    head_epochs of the head; then the body with CE + lam * MSE(f, P[y]), P of last round
    body      = sum_k n_k body_k / sum_k n_k over this round's clients
    P[c]      = sum_k n_kc P_k[c] / sum_k n_kc              P_k[c]: class means after the fit
    head_i    = sum_j a_j head_j,   a = argmin of a' (diag(v) + D_i) a on the simplex
    D_i[j, l] = sum_c < H_i[c] - H_j[c], H_i[c] - H_l[c] >

Shares below 0.001 are dropped, and the others here made to sum to 1 again. Who is away keeps its
head, and is sent the newest body and prototypes; a newcomer starts with the head that all started
with. Prototypes are the last round's: a class that nobody had adds nothing to the loss, where the
official code stops with an error.

Officially the programme goes to a general solver, eigenvalues under 0.01 are cut where rounding has
made one negative, and a client keeps its head if that fails. Here it is solved exactly
(`fedkd.maths.simplex.least_quadratic`), whatever the matrix. Deviation: the head is trained with
the run's ``fit.lr``; the official one is 0.1, 10 times the body's. ``fit.epochs=6`` is what the
official code has, one of them the head's; with few a head learns slowly.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ..clients.exchange.aligned_body import KNOWN, PROTOTYPES
from ..config import RunConfig
from ..knowledge import Knowledge, KnowledgeStack, stack
from ..knowledge.admission import Expected
from ..maths.simplex import least_quadratic
from ..models.flat import floats
from ..models.parts import body
from ..rounds.protocol import RoundPlan
from .bodies import BodyFusion

LEAST = 1e-3
"""The smallest share of another's head that counts."""


class FedPAC(BodyFusion):
    """Averaged bodies below heads that are each a mixture of this round's.

    Parameters
    ----------
    lam : float
        Weight of the distance to the prototypes while a body is trained, >= 0.
    head_epochs : int
        The first epochs of a fit, which are the head's, at least 1; those after are the body's.
    **base
        See `CommonStart`.

    Attributes
    ----------
    state : dict
        See `CommonStart`; and ``prototypes`` ``[classes, dim]`` with ``known`` ``[classes]``, of
        the last round.

    Examples
    --------
    >>> alike = torch.zeros(2, 1, 1)
    >>> mixtures(torch.tensor([1.0, 3.0]), alike)
    tensor([[0.7500, 0.2500],
            [0.7500, 0.2500]])
    """

    exchange = "aligned_body"
    homogeneous = True
    sums_only = False
    personalised = True
    needs_classes = True

    def __init__(self, lam: float = 1.0, head_epochs: int = 1, **base: Any) -> None:
        super().__init__(**base)
        self.pass_on(lam=lam, head_epochs=head_epochs)
        self.least_epochs = head_epochs + 1  # one for the body
        self.below = torch.zeros(0, dtype=torch.bool)  # which numbers of a model are its body's

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Note which numbers of a model are its body's."""
        names = body(models[0])
        parts = [torch.full((v.numel(),), k in names) for k, v in floats(models[0]).items()]
        self.below = torch.cat(parts)
        return super().settle(config, models)

    def common(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean body, ``[size of it]``."""
        return super().common(knowledge)[self.below]

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return a model for each client: the mean body, and its own mixture of heads."""
        shares = mixtures(knowledge.extras["variance"][:, 0], knowledge.extras["moments"])
        personal = torch.empty_like(knowledge.values)
        personal[:, self.below] = self.common(knowledge)
        personal[:, ~self.below] = shares @ knowledge.values[:, ~self.below]
        return personal

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Make this round's prototypes; the bodies stay as they are."""
        del plan
        knowledge = stack(admitted)
        counts = knowledge.counts.unsqueeze(-1)
        total = counts.sum(dim=0)
        means = (counts * knowledge.extras["prototypes"]).sum(dim=0) / total.clamp_min(1)
        self.state |= {PROTOTYPES: means, KNOWN: (total[:, 0] > 0).to(torch.uint8)}
        return shared

    def beside_size(self, cohort: int, upload: Expected) -> int:
        """Return the numbers of the prototypes."""
        del cohort
        return prod(upload.extras[PROTOTYPES])

    def beside(self) -> dict[str, Tensor]:
        """Return the newest prototypes, once there are some."""
        return {name: self.state[name] for name in (PROTOTYPES, KNOWN) if name in self.state}


def mixtures(variance: Tensor, moments: Tensor) -> Tensor:
    """Return each client's shares in the others' heads, ``[n, n]``, rows sum to 1.

    Parameters
    ----------
    variance : Tensor
        v ``[n]``.
    moments : Tensor
        H ``[n, classes, dim]``.
    """
    flat = moments.double().flatten(1)
    flat = flat - flat.mean(dim=0)  # shares sum to 1
    alike = flat @ flat.T
    form = alike + torch.diag(variance.double())  # |H_i - sum_j a_j H_j|^2 + sum_j v_j a_j^2
    rows = [least_quadratic(form, pull, client) for client, pull in enumerate(alike)]
    shares = torch.stack(rows)
    shares = torch.where(shares < LEAST, 0.0, shares)
    return (shares / shares.sum(dim=1, keepdim=True)).float()
