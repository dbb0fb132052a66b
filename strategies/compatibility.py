"""Compatibility: clients learn most from those whose architecture sees samples as theirs does.

Dong, Li, Wei, "DisWOT: Student Architecture Search for Distillation WithOut Training", CVPR 2023,
arXiv 2303.15678, ranks students for a teacher by how alike the two see a batch before anything is
trained. Confidence: certain for its relation term (`fedkd.models.compatibility`); **ours** is that
as fusion weights among clients n and m of a round, with a(n) the architecture of n::

    s_nm = B * relation(a(n), a(m))     B samples; at most 0, and 0 for one architecture
    w_nm = softmax over m of (beta * s_nm)
    teacher_n = sum over m of w_nm * F_m

F_m ``[samples, classes]`` is what client m uploads. beta = 0, and clients of one architecture, give
the uniform mean; beta -> infinity leaves each architecture to itself.

B makes it a mean over samples, whatever their number. The paper's semantic term is left out: it
needs heads of one width, and compares the features of two models one by one, which is about the
same for any two architectures (-1.6 for those tried), with 0 for one and itself.

Scores are settled before the first round, from untrained models and the first B = 64 transfer
samples: nothing of a client's data is in them, and every engine and every resumed run has the same.
Untrained weights are one draw by the run's seed, and no client begins with them: near scores say
nothing.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..knowledge import CLASS_SCORES, NUMBERS, KnowledgeStack
from ..models import model_names
from ..models.compatibility import SAMPLES, relations, view
from ..models.features import headless
from ..rounds.protocol import RoundPlan
from ..rounds.server import Server
from ..tasks.samples import made_up
from .base import Records
from .mixtures import MixingFusion


class Compatibility(MixingFusion):
    """Weights clients by how alike untrained models of their architectures see samples.

    Parameters
    ----------
    beta : float
        Sharpness, >= 0. Scores of shipped models are between -0.3 and -0.01.
    **base
        See `MixingFusion`.

    Attributes
    ----------
    state : dict
        ``scores`` ``[architectures, architectures]`` and ``architecture`` ``[all clients]``.

    Examples
    --------
    >>> labels = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]], [[0.0, 1.0]]])
    >>> stack = KnowledgeStack("soft_labels", labels, [0, 1, 2], torch.arange(1))
    >>> strategy = Compatibility(beta=1.0)
    >>> strategy.state["scores"] = torch.tensor([[0.0, -math.log(2)], [-math.log(2), 0.0]])
    >>> strategy.state["architecture"] = torch.tensor([0, 0, 1])
    >>> strategy.weights(stack)
    tensor([[0.4000, 0.4000, 0.2000],
            [0.4000, 0.4000, 0.2000],
            [0.2500, 0.2500, 0.5000]])
    """

    personalised = True
    mixed = True
    uses_transfer = True
    kinds = (*CLASS_SCORES, *NUMBERS)

    def __init__(self, beta: float = 20.0, **base: Any) -> None:
        super().__init__(**base)
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta={beta} must be at least 0 and finite")
        self.beta = beta

    def refusal(self, server: Server) -> str | None:
        """Say so of a model that has no head to look at."""
        named = dict(zip(model_names(server.models), server.instances, strict=True))
        found = headless(named, made_up(server.federation.shape, 2))
        return None if found is None else f"compares what goes into heads, and {found}"

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Warn where there is nothing to compare."""
        del config
        if len({id(model) for model in models}) > 1:
            return []
        return ["all clients have one architecture, so all weigh the same; as strategy=fedmd"]

    def before_fit(self, plan: RoundPlan) -> dict[int, Records]:
        """Compare the architectures, once; send nothing."""
        if not self.state:
            self.state["scores"], self.state["architecture"] = compared(plan.server)
        return {}

    def weights(self, knowledge: KnowledgeStack) -> Tensor:
        """Return ``softmax(beta * s)`` ``[clients, clients]``."""
        if not self.state:  # nobody knows who is who
            n = len(knowledge.clients)
            return torch.full((n, n), 1 / n)
        kinds = self.state["architecture"][knowledge.clients]
        return (self.beta * self.state["scores"][kinds][:, kinds].double()).softmax(dim=-1).float()


def compared(server: Server) -> tuple[Tensor, Tensor]:
    """Return the scores of a run's architectures, in pairs, and which one each client has."""
    numbers: dict[int, int] = {}
    kinds = [numbers.setdefault(id(model), len(numbers)) for model in server.instances]
    specs = [server.models[kinds.index(number)] for number in numbers.values()]
    x = server.federation.transfer(torch.arange(min(SAMPLES, server.federation.transfer_size)))
    features = [view(server.model(spec), x, None).features for spec in specs]
    return relations(features), torch.tensor(kinds)
