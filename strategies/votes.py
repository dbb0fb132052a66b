"""PATE's server half: a noisy vote in the place of a method's mean.

Papernot et al., "Scalable Private Learning with PATE", ICLR 2018, arXiv 1802.08908; formulas:
`fedkd.privacy.pate`. ``privacy=pate`` puts it in the place of a method whose server needs a mean of
soft labels and no more; that method's other ideas (DS-FL's sharpening, for one) go with its mean.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..knowledge import KnowledgeStack, Teacher
from ..privacy.curves import epsilon_of, orders
from ..privacy.pate import confident_gnmax, votes_cost
from ..rng import torch_generator
from ..rounds.protocol import Outcome, RoundPlan, Strategy
from .base import FusionStrategy

CURVE = "curve"


class NoisyVotes(FusionStrategy):
    """The class with most votes, noisily counted, for samples where enough clients agree.

    The rounds table has ``answered``, the samples that got a label, and
    ``epsilon_data_dependent``: what the run has cost so far by the votes that were really cast.
    That number is itself private.

    Parameters
    ----------
    mechanism : PATE
        Noise and threshold (`fedkd.clients.privacy.pate`).
    delta : float
        For ``epsilon_data_dependent``.
    strategy : Strategy
        Whose place it takes.

    Attributes
    ----------
    state : dict
        ``curve`` ``[orders]``, the data-dependent cost so far.
    """

    sums_only = True

    def __init__(self, mechanism: Any, delta: float, strategy: Strategy) -> None:
        super().__init__(temperature=getattr(strategy, "temperature", None))
        self.mechanism, self.delta = mechanism, delta
        self.objective = strategy.objective

    def fused(self, plan: RoundPlan, knowledge: KnowledgeStack, outcome: Outcome) -> Teacher:
        """Count the votes; answer where enough agree."""
        check, sigma = self.mechanism.deviations
        counts = counted(knowledge)
        source = None if self.mechanism.secure_rng else torch_generator(plan.seed)
        needed = self.mechanism.threshold * len(knowledge.clients)
        winners, answered = confident_gnmax(counts, needed, check, sigma, source)
        cost = votes_cost(counts.numpy(), answered.numpy(), check, sigma, orders())
        self.state[CURVE] = self.state.get(CURVE, torch.zeros(len(cost))) + torch.from_numpy(cost)
        outcome.knowledge = knowledge
        outcome.scalars["answered"] = int(answered.sum())
        spent = epsilon_of(self.state[CURVE].numpy(), self.delta)
        outcome.scalars["epsilon_data_dependent"] = spent
        labels = F.one_hot(winners, counts.shape[-1]).float() * answered.unsqueeze(-1)
        return Teacher("soft_labels", labels, knowledge.clients, answered)


def counted(knowledge: KnowledgeStack) -> Tensor:
    """Return the votes ``[samples, classes]`` of a round, also where only their mean is known.

    Everybody has one vote a sample, whatever is uploaded. A mean is exact up to the fixed point of
    the sum; it is rounded up from one half, so that a vote more is always a count of one more.

    Examples
    --------
    >>> mean = torch.tensor([[[0.75, 0.25]]])
    >>> counted(KnowledgeStack("soft_labels", mean, [0, 1, 2, 3], torch.arange(1)))
    tensor([[3, 1]])
    """
    values, voters = knowledge.values, len(knowledge.clients)
    if len(values) == voters:
        return F.one_hot(values.argmax(dim=-1), values.shape[-1]).sum(dim=0)
    return (values[0].double() * voters + 0.5).floor().long()
