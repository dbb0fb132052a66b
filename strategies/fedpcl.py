"""FedPCL: clients learn by contrast with each other's prototypes, and by nothing else.

Tan, Long, Ma, Liu, Zhou, Jiang, "Federated Learning from Pre-Trained Models: A Contrastive Learning
Approach", NeurIPS 2022, arXiv 2209.10083. Confidence: certain (official code)::

    f(x)   = projection(body(x)) / || . ||              a linear layer, to `dim` numbers
    P_k[c] = mean of f over client k's samples of c;    P[c] = mean of P_k[c] over those who have c
    loss   = mean over k of contrast( P_k[y], f )       P[c] fills in where k has no c
    label  = argmin_c || f(x) - own P_n[c] ||^2

contrast (`fedkd.maths.contrast.contrast`) is supervised, over two views of
each sample, with prototypes for anchors. There is no cross-entropy. Downward goes what all clients
of a round sent, so that a round costs the square of their number.

Trap: officially the loss exists only where there are as many sets as clients, so that with partial
participation nobody ever learns anything. Here the sets are those of the last round's clients; in
the first round a client has its own.

Deviations. The paper's bodies are frozen, pre-trained and the same for all; such weights are not to
be had here, and a frozen body is as random as it starts. So bodies are trained along, unless
``frozen`` says otherwise. The loss is a mean over sets, officially a sum, which Adam does not
notice: with SGD it would be a step as many times as large. The second view is a random crop of the
first with ``fit.augment``, else the same.
"""

from math import prod
from typing import Any

import torch
from torch import Tensor

from ..clients.exchange.projected_prototypes import HAS, ROWS
from ..knowledge import KnowledgeStack, Teacher
from ..knowledge.admission import Expected
from ..rounds.protocol import RoundPlan
from .fedproto import FedProto


class FedPCL(FedProto):
    """Contrast with the prototypes of all clients of the last round.

    Parameters
    ----------
    tau : float
        Temperature of the contrast, > 0.
    dim : int
        Numbers of a prototype, at least 1; clients project the features of any model to as many.
    frozen : bool
        Whether bodies stay as they start, and the projection alone is trained.

    Attributes
    ----------
    state : dict
        ``sets`` ``[rows, dim]``, all prototypes of the last round, and ``sets_has`` ``[clients of
        it, classes]``, whose they are, beside what `ClassFusion` has.

    Examples
    --------
    >>> FedPCL(dim=64).exchange_node()
    {'name': 'projected_prototypes', 'tau': 0.07, 'dim': 64, 'frozen': False}
    """

    exchange = "projected_prototypes"
    sums_only = False

    def __init__(self, tau: float = 0.07, dim: int = 256, frozen: bool = False) -> None:
        super().__init__(dim=dim)
        if not tau > 0:
            raise ValueError(f"tau={tau} must be greater than 0")
        self.tau, self.frozen = tau, frozen

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        return {"name": self.exchange, "tau": self.tau, "dim": self.width, "frozen": self.frozen}

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Keep each client's prototypes beside their mean."""
        del plan
        assert knowledge.mask is not None
        order = knowledge.values.double().sum(dim=(1, 2)).argsort()  # whoever has which number
        values, has = knowledge.values[order], knowledge.mask[order]
        self.state |= {ROWS: values[has], HAS: has.to(torch.uint8)}
        return teacher

    def beside_size(self, cohort: int, upload: Expected) -> int:
        """Return the numbers of all clients' prototypes, as if they had all classes."""
        return cohort * prod(upload.shape)

    def beside(self) -> dict[str, Tensor]:
        """Return the prototypes of all clients of the last round."""
        return {name: self.state[name] for name in (ROWS, HAS) if name in self.state}
