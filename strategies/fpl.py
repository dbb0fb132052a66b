"""FPL: models are averaged, and clients draw near clusters of each class's prototypes.

Huang, Ye, Shi, Li, Du, "Rethinking Federated Learning with Domain Shift: A Prototype View", CVPR
2023. Confidence: certain (official code)::

    P_n[c] = mean of f over client n's samples of class c     f: what the last layer is fed
    P[c]   = means of FINCH's clusters of { P_n[c] }          its coarsest partition, by cosine
    loss_n = CE + mean of -log( sum_{p in P[y]} e^{cos(f,p)/tau} / sum_p e^{cos(f,p)/tau} )
                + mean of MSE(f, mean of P[y])
    w      = sum_n samples_n * w_n / sum_n samples_n

P is of this round's clients alone. It travels beside the model, in both directions: who was away is
sent the newest of both. Samples of a class that nobody had in the last round add nothing; the
official code fails on a batch of nothing else.

Deviations: tau is 0.02 there, with ``fit.lr=0.01``; ours is 0.2, as in a re-implementation. At the
default ``fit.lr`` 0.02 tears models apart: on MNIST (10 clients of 200 samples, 10 rounds) they end
at 37%, with 0.2 at 80%, as FedAvg does. And prototypes are of the model as it is after its fit, in
evaluation mode; officially of the features met during the last epoch, while it moved.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..clients.exchange.cluster_contrast import CLUSTERS, OF
from ..knowledge import Knowledge, KnowledgeStack, stack
from ..knowledge.admission import Expected
from ..maths.clusters import cluster_means, finch
from ..rounds.protocol import RoundPlan
from .parametric import ParameterFusion


class FPL(ParameterFusion):
    """FedAvg of clients whose features are drawn to clusters of prototypes.

    Parameters
    ----------
    tau : float
        Temperature of the contrast with the clusters, > 0.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        See `ParameterFusion`; and ``clusters`` ``[m, dim]`` with ``clusters_of`` ``[m]``, the
        newest prototypes and their classes.

    Examples
    --------
    >>> FPL(tau=0.5).exchange_node()
    {'name': 'cluster_contrast', 'tau': 0.5}
    """

    exchange = "cluster_contrast"
    needs_classes = True

    def __init__(self, tau: float = 0.2, **base: float | None) -> None:
        super().__init__(**base)
        if not tau > 0:
            raise ValueError(f"tau={tau} must be greater than 0")
        self.tau = tau

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its temperature."""
        return {"name": self.exchange, "tau": self.tau}

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Find this round's clusters; the mean stays as it is."""
        del plan
        self.state |= clustered(stack(admitted))
        return shared

    def beside_size(self, cohort: int, upload: Expected) -> int:
        """Return the numbers of a prototype a class: there may be several."""
        del cohort
        return prod(upload.extras["prototypes"])

    def beside(self) -> dict[str, Tensor]:
        """Return the newest prototypes, once there are some."""
        return {name: self.state[name] for name in (CLUSTERS, OF) if name in self.state}


def clustered(knowledge: KnowledgeStack) -> dict[str, Tensor]:
    """Return the cluster prototypes of all classes, and the class of each."""
    means, has = knowledge.extras["prototypes"], knowledge.extras["has"] > 0
    found, of = [means[:0, 0]], list[int]()
    for label in torch.nonzero(has.any(dim=0)).flatten().tolist():
        own = means[has[:, label], label]
        centres = cluster_means(own, finch(own))
        found.append(centres[centres.double().sum(dim=1).argsort()])  # whoever has which number
        of += [label] * len(centres)
    return {CLUSTERS: torch.cat(found), OF: torch.tensor(of, dtype=torch.int64)}
