"""KAFAL on soft labels: an extension of ours, for clients with different architectures.

The published KAFAL shares parameters (``strategy=kafal``). What its two parts need, though, are
two functions of a client's private samples: a local model f and a global one g. Here clients share
soft labels on the transfer set, g is the client's own model right after digesting the consensus,
and f the same model after its next private training. Confidence: a construction, not a published
method::

    teacher(x) = sum_k v_k p_k(x)                                       p_k = softmax(f_k(x) / T)
    samples    v_k = n_k / sum_j n_j                                    n_k: labelled samples
    classes    v_ky = n_ky / sum_j n_jy for each class y, rows normalised afterwards
    knfu       v_mk = KnFu's weights, one mixture per client m

Counting by class matters because balanced softmax gives a class without labels no gradient: what a
client says about it means nothing. It makes clients share their label histograms.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from ..fusion import mix
from ..knowledge import KnowledgeStack
from ..protocol import Outcome, RoundPlan
from .base import FusionStrategy
from .cycles import Cycles, Rule
from .kafal import queried
from .knfu import KnFu


class KAFALSoft(FusionStrategy):
    """Active learning with soft labels in place of parameters.

    Parameters
    ----------
    aggregation : {"samples", "classes", "knfu"}
        Weights of the consensus.
    rounds_per_cycle, initial, budget, budget_rule, balanced, kd_weight, beta, absent, persist
        As for ``kafal``.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        ``labelled`` ``[clients]``: how many labelled samples each client has.
    """

    exchange = "kcfu_labels"
    fit_action = "train.kcfu"

    def __init__(
        self,
        aggregation: Literal["samples", "classes", "knfu"] = "samples",
        rounds_per_cycle: int = 10,
        initial: float = 0.1,
        budget: float = 0.05,
        budget_rule: Rule = "proportional",
        balanced: bool = True,
        kd_weight: float = 1.0,
        beta: float = 2.0,
        absent: Literal["zero", "max"] = "zero",
        persist: bool = False,
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        self.cycles = Cycles(rounds_per_cycle, initial, budget, budget_rule)
        self.aggregation = aggregation
        self.learner: dict[str, Any] = {
            "initial": initial,
            "balanced": balanced,
            "kd_weight": kd_weight,
            "beta": beta,
            "absent": absent,
            "persist": persist,
        }

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        counts = self.aggregation == "classes"
        return {"name": self.exchange, "share_counts": counts, **self.learner}

    def cohort(self, number: int, drawn: list[int], clients: int) -> list[int]:
        """Return all clients in a cycle's last round, else those that were drawn."""
        return list(range(clients)) if self.cycles.ends(number) else drawn

    def fit_options(self, plan: RoundPlan) -> dict[str, Any]:
        """Say whether a cycle begins; compensation starts with the first consensus."""
        begins = self.cycles.begins(plan.number)
        return {"new-cycle": begins, "compensate": not begins}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the consensus ``[samples, classes]``, or one per client with KnFu's weights."""
        if self.aggregation == "knfu":
            return mix(KnFu().weights(knowledge), knowledge.soft_labels)
        samples = knowledge.extras["samples"]
        mean = (samples / samples.sum()).unsqueeze(-1) * knowledge.soft_labels
        if self.aggregation == "samples":
            return mean.sum(dim=0)
        return by_class(knowledge.soft_labels, knowledge.counts, mean.sum(dim=0))

    def round(self, plan: RoundPlan) -> Outcome:
        """Query at the start of a cycle, then train, fuse and digest."""
        columns = queried(self.cycles, self.state, plan)
        outcome = super().round(plan)
        outcome.scalars |= columns
        return outcome


def by_class(soft_labels: Tensor, counts: Tensor, fallback: Tensor) -> Tensor:
    """Return ``sum_k n_ky p_ky / sum_k n_ky`` for each class y, rows normalised.

    Parameters
    ----------
    soft_labels : Tensor
        ``[n, samples, classes]``.
    counts : Tensor
        ``[n, classes]``, >= 0.
    fallback : Tensor
        ``[samples, classes]``, for the classes that nobody has labels of.

    Examples
    --------
    >>> p = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]])
    >>> by_class(p, torch.tensor([[1.0, 0.0], [1.0, 2.0]]), p.mean(dim=0))
    tensor([[0.5833, 0.4167]])
    """
    sums = counts.sum(dim=0)
    weighted = (counts.unsqueeze(1) * soft_labels).sum(dim=0) / sums.clamp_min(1)
    values = torch.where(sums > 0, weighted, fallback)
    return values / values.sum(dim=-1, keepdim=True)
