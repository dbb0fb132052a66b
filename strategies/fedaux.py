"""FedAUX: logits weighted by how much a sample looks like a client's private data.

Sattler, Korjakow, Rischke, Samek, "FedAUX: Leveraging Unlabeled Auxiliary Data in Federated
Learning", 2021, arXiv 2102.02514. Confidence: certain (official code)::

    w_n(x)     = P(private | x), L2-regularised logistic regression of client n, lambda = 0.01
    teacher(x) = softmax( sum_n w_n(x) f_n(x) / sum_n w_n(x) )
    with (epsilon, delta)-DP, N(0, s^2) is added to each coefficient of m samples' regression:
    s^2        = 2 ln(1.25 / delta) * (2 / (m lambda))^2 / epsilon^2

Deviations. The paper scores features of a network that was pre-trained without labels on the public
data; here it is the flattened inputs, as there is no such network. It compares with public samples
other than those that are distilled; here both are the transfer set. It distils at the server, into
a model averaged from all clients; here each client learns from the teacher. Coefficients include
the intercept, which the penalty covers too, and inputs are scaled by the longest public one, longer
private ones being shortened: the noise then is what the formula asks for, whatever is private.

Trap: s belongs to a penalty lambda of the *mean* loss. The official code gives scikit-learn
``C = 1 / lambda``, a penalty m times weaker, so that its noise is m times too small. Here lambda is
that of the mean throughout: 0.01 where there is a budget, and 0.01 / m, as in the code, where there
is none. The stronger penalty leaves the weights nearly uniform.
"""

from typing import Any

from torch import Tensor

from ..knowledge import KnowledgeStack
from ..maths.density import score_weights
from ..maths.robust import weighted_mean
from ..rounds.server import Server
from .base import FusionStrategy


class FedAUX(FusionStrategy):
    """Mean logits, weighted for each sample by who has data like it.

    Parameters
    ----------
    regularisation : float or None
        lambda of the logistic regression's mean loss, > 0; None = 0.01 with a budget and 0.01 / m
        without.
    epsilon : float or None
        Privacy budget of a client's scores, > 0, spent once; None = no noise. It does not cover the
        logits, and above 1 the formula is no guarantee.
    delta : float
        Failure probability of that guarantee, in (0, 1 / n), n the samples of the largest client.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]])
    >>> scores = torch.tensor([[0.6], [0.2]])
    >>> FedAUX().fuse(
    ...     KnowledgeStack("logits", logits, [0, 1], torch.arange(1), scores=scores)
    ... )
    tensor([[1.5000, 0.5000]])
    """

    exchange = "likeness_logits"
    needs_numbers = True
    per_sample = True
    sums_only = True

    def __init__(
        self,
        regularisation: float | None = None,
        epsilon: float | None = None,
        delta: float = 1e-5,
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        self.scoring = {"regularisation": regularisation, "epsilon": epsilon, "delta": delta}

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of delta, where there is no budget."""
        found = super().unused(kind)
        if self.scoring["epsilon"] is None:
            found["delta"] = "has no effect without a budget; set strategy.epsilon, or leave it out"
        return found

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with the parameters of the regression."""
        return {"name": self.exchange, **self.scoring}

    def refusal(self, server: Server) -> str | None:
        """Refuse a guarantee that publishing a record at random would keep."""
        largest, delta = int(max(server.federation.sizes)), float(self.scoring["delta"] or 0)
        if self.scoring["epsilon"] is None or delta < 1 / largest:
            return None
        return (
            f"has delta={delta:g}: give less than 1/n, the largest client has n={largest} samples"
        )

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the weighted mean logits ``[samples, classes]``."""
        assert knowledge.scores is not None
        return weighted_mean(knowledge.logits, score_weights(knowledge.scores)).float()
