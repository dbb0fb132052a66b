"""ExpGuard: clients that keep sticking out lose their weight, round after round.

Roux, Zimmer, Pokutta, "On the Byzantine-Resilience of Distillation-Based Federated Learning", ICLR
2025, arXiv 2402.12265 ("FilterExp" in its first version).

Confidence: certain (the paper's code) where all clients take part in every round; a reconstruction
where they do not. For each client n of a round's cohort P::

    score_n = mean over samples of its outlier score
    w_n    <- w_n * exp(-eta * score_n) * z                w_n = 1 before the first round
    teacher = sum_n w_n * F_n / sum_n w_n                  sums over P

In the paper z = 1 and all clients shrink alike. With a part of the clients in a round, whoever
takes part more often would weigh less, and the newest most. **Reconstructed**: as in prediction
with specialists that may be absent (Freund, Schapire, Singer, Warmuth, STOC 1997), z keeps the
cohort's sum of weights as it was, so that only being worse than the others of one's rounds costs
weight; and a newcomer starts at the geometric mean of all weights so far. Where everybody takes
part, z is common to all and the teacher is the paper's.

The outlier score of a sample is that of the inner rule: for `spectral_filter` its own
``|(F_n - mean) . v|``, for all others the distance ``||F_n - teacher of the inner rule||_2``. The
inner rule's teacher itself is used for nothing else. Which eta and which inner rule the paper's
experiments use is not publicly confirmed; the defaults are ours.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..knowledge import KnowledgeStack, Teacher
from ..maths.robust import outlier_scores
from ..rounds.protocol import RoundPlan
from .base import FusionStrategy
from .coordinate_median import CoordinateMedian
from .cronus import Cronus
from .fedmd import FedMD
from .geometric_median import GeometricMedian
from .spectral_filter import SpectralFilter

_RULES: dict[str, Callable[[], FusionStrategy]] = {
    "mean": lambda: FedMD(exchange="soft_labels"),
    "coordinate_median": CoordinateMedian,
    "geometric_median": GeometricMedian,
    "spectral_filter": SpectralFilter,
    "cronus": Cronus,
}


class ExpGuard(FusionStrategy):
    """Weighted mean; the weights shrink exponentially with each client's outlier scores.

    Parameters
    ----------
    inner : {"mean", "coordinate_median", "geometric_median", "spectral_filter", "cronus"}
        The rule that says who sticks out.
    eta : float
        How fast weights shrink, at least 0; 0 is the plain mean.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        ``log_weights`` ``[largest client seen + 1]`` float64: ``ln w`` by client index, and
        ``seen``, bool of that size: who has taken part.

    Examples
    --------
    >>> labels = torch.tensor([[[0.8, 0.2]], [[0.8, 0.2]], [[0.0, 1.0]]])
    >>> stack = KnowledgeStack("soft_labels", labels, [0, 1, 4], torch.arange(1))
    >>> guard = ExpGuard(inner="coordinate_median", eta=1.0)
    >>> guard.fuse(stack)
    tensor([[0.6889, 0.3111]])
    >>> guard.state |= guard.updated(stack)
    >>> guard.fuse(stack)  # a hostile client counts less in every round
    tensor([[0.7604, 0.2396]])
    """

    def __init__(
        self,
        inner: Literal[
            "mean", "coordinate_median", "geometric_median", "spectral_filter", "cronus"
        ] = "cronus",
        eta: float = 5.0,
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        if not 0 <= eta < math.inf:
            raise ValueError(f"eta={eta} must be at least 0 and finite")
        self.inner, self.eta = inner, eta
        self.rule: FusionStrategy = _RULES[inner]()

    def scores(self, knowledge: KnowledgeStack) -> Tensor:
        """Return every client's mean outlier score ``[clients]`` float64, at least 0."""
        values = knowledge.soft_labels
        if isinstance(self.rule, SpectralFilter):
            return outlier_scores(values).mean(dim=1)
        middle = self.rule.fuse(knowledge)
        return (values.double() - middle).norm(dim=-1).mean(dim=1)

    def updated(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        """Return the state after this round: the logarithms of all weights, and who has one."""
        clients = torch.tensor(knowledge.clients)
        size = max(knowledge.clients[-1] + 1, len(self.state.get("seen", ())))
        log_weights = torch.zeros(size, dtype=torch.float64)
        seen = torch.zeros(size, dtype=torch.bool)
        if self.state:
            known = len(self.state["seen"])
            log_weights[:known], seen[:known] = self.state["log_weights"], self.state["seen"]
            log_weights[~seen] = log_weights[seen].mean()
        before = log_weights[clients]
        after = before - self.eta * self.scores(knowledge)
        log_weights[clients] = after + before.logsumexp(dim=0) - after.logsumexp(dim=0)
        seen[clients] = True
        return {"log_weights": torch.where(seen, log_weights, 0.0), "seen": seen}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean ``[samples, classes]`` with the weights of this round."""
        weights = self._weights(knowledge, self.updated(knowledge))
        return (weights.view(-1, 1, 1) * knowledge.soft_labels).sum(dim=0).float()

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Remember the weights."""
        del plan
        self.state = self.updated(knowledge)
        return teacher

    def _weights(self, knowledge: KnowledgeStack, state: dict[str, Tensor]) -> Tensor:
        """Return the participants' weights ``[clients]``; they sum to 1."""
        return state["log_weights"][torch.tensor(knowledge.clients)].softmax(dim=0)

    def round_extras(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        """Log every client's weight."""
        return {"weight": self._weights(knowledge, self.state)}
