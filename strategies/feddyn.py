"""FedDyn: a dynamic regulariser makes the clients' stationary points those of the whole.

Acar, Zhao, Matas, Mattina, Whatmough, Saligrama, "Federated Learning Based on Dynamic
Regularization", ICLR 2021, arXiv 2111.04263. Confidence: certain (official code)::

    w_k  = argmin of f_k(w) + alpha_k ( |w - w_t|^2 / 2 + <w, h_k> )     alpha_k = alpha / (K p_k)
    h_k <- h_k + w_k - w_t                                              who is away keeps its own
    h   <- h + sum over S of (w_k - w_t) / K                            S: this round's clients
    w   <- mean over S of w_k + h                                       K: all clients

p_k is a client's share of all samples. Means are not weighted; h_k and h start at 0, and h is the
mean of all h_k. The official code evaluates three models; clients get, and are measured by, the
last line's. alpha is 0.01 in most of its settings.

A public re-implementation penalises the distance from w_t in place of its square, which pulls as
hard near w_t as far from it. Here both terms are one loss, so momentum treats them as it does the
gradient. BatchNorm's statistics are averaged, and are in no h.

Deviation: a client keeps its new h_k once the server has answered its upload, or has said in a
later round that it counted; one whose upload was lost keeps the old. So h stays the mean of all.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..clients.exchange.dynamic_regulariser import MEAN_SAMPLES
from ..knowledge import Knowledge
from ..models.flat import trained
from ..rounds.protocol import RoundPlan
from .corrections import CorrectedFusion


class FedDyn(CorrectedFusion):
    """The mean of regularised clients, and beyond it by what all have moved so far.

    Parameters
    ----------
    alpha : float
        Weight of the regulariser at a client with as many samples as clients have on average, > 0.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        See `CorrectedFusion`; and ``past`` ``[size]``, h.

    Examples
    --------
    >>> start, none = torch.zeros(1), torch.zeros(1)
    >>> FedDyn().stepped(start, torch.tensor([0.5]), none, share=1.0)  # the next model, and h
    (tensor([1.]), tensor([0.5000]))
    """

    exchange = "dynamic_regulariser"
    sums_only = True

    def __init__(self, alpha: float = 0.01, **base: float | None) -> None:
        super().__init__(**base)
        self.pass_on(alpha=alpha)

    def fit_options(self, plan: RoundPlan) -> dict[str, Any]:
        """Tell clients how many samples they have on average."""
        mean = sum(plan.server.sizes) / plan.server.clients
        return super().fit_options(plan) | {MEAN_SAMPLES: mean}

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Return the next model."""
        share, before = len(admitted) / plan.server.clients, self.state["shared.0"]
        past = self.state.get("past", torch.zeros_like(before))
        own = trained(plan.server.instances[0])
        ahead, past = self.stepped(before, shared[0], past, share)
        self.state["past"] = torch.where(own, past, 0.0)
        return {0: torch.where(own, ahead, shared[0])}

    def stepped(
        self, before: Tensor, mean: Tensor, past: Tensor, share: float
    ) -> tuple[Tensor, Tensor]:
        """Return the next model and h, ``[size]`` each.

        Parameters
        ----------
        before, mean : Tensor
            ``[size]``, the model that was sent, and the mean of those that came back.
        past : Tensor
            h ``[size]``.
        share : float
            The round's clients by all clients.
        """
        past = past + share * (mean - before)
        return mean + past, past
