"""Compatibility: clients learn most from those whose architecture sees samples as theirs does.

Dong, Li, Wei, "DisWOT: Student Architecture Search for Distillation WithOut Training", CVPR 2023,
arXiv 2303.15678, ranks students for a teacher by how alike the two see a batch before anything is
trained (`fedkd.models.compatibility`, which says what is certain of it). **Ours**: its score s, at
most 0, as fusion weights among clients n and m of a round, with a(n) the architecture of n::

    s_nm = s(a(n), a(m))                s of an architecture with itself is 0
    w_nm = softmax over m of (beta * s_nm)
    teacher_n = sum over m of w_nm * F_m

F_m ``[samples, classes]`` is what client m uploads. beta = 0, and clients of one architecture, give
the uniform mean; beta -> infinity leaves each architecture to itself.

Scores are settled before the first round, from untrained models and the first 64 transfer samples:
nothing of a client's data is in them, and every engine and every resumed run has the same. The
semantic term is part of them where ``transfer.labelled=true`` and all heads have one width; else
they are the relation term alone. Untrained weights are one draw, as of the run's seed, and the
models of all clients of an architecture begin elsewhere: near scores say nothing.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..knowledge import CLASS_SCORES, NUMBERS, KnowledgeStack
from ..models import model_names
from ..models.compatibility import SAMPLES, scores, view
from ..models.features import headless
from ..rounds.protocol import RoundPlan
from ..rounds.server import Server
from .base import Records
from .mixtures import MixingFusion


class Compatibility(MixingFusion):
    """Weights clients by how alike untrained models of their architectures see samples.

    Parameters
    ----------
    beta : float
        Sharpness, >= 0. Scores are of the order of a hundredth.
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

    def __init__(self, beta: float = 100.0, **base: Any) -> None:
        super().__init__(**base)
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta={beta} must be at least 0 and finite")
        self.beta = beta

    def refusal(self, server: Server) -> str | None:
        """Say so of a model that has no head to look at."""
        found = headless(dict(zip(model_names(server.models), server.instances, strict=True)))
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
            labelled = plan.labels is not None
            self.state["scores"], self.state["architecture"] = compared(plan.server, labelled)
        return {}

    def weights(self, knowledge: KnowledgeStack) -> Tensor:
        """Return ``softmax(beta * s)`` ``[clients, clients]``."""
        if not self.state:  # nobody knows who is who
            n = len(knowledge.clients)
            return torch.full((n, n), 1 / n)
        kinds = self.state["architecture"][knowledge.clients]
        return (self.beta * self.state["scores"][kinds][:, kinds].double()).softmax(dim=-1).float()


def compared(server: Server, labelled: bool) -> tuple[Tensor, Tensor]:
    """Return the scores of a run's architectures, in pairs, and which one each client has.

    Parameters
    ----------
    server : Server
        Of the run.
    labelled : bool
        Whether methods may see the transfer set's labels.
    """
    numbers: dict[int, int] = {}
    kinds = [numbers.setdefault(id(model), len(numbers)) for model in server.instances]
    specs = [server.models[kinds.index(number)] for number in numbers.values()]
    rows = torch.arange(min(SAMPLES, server.federation.transfer_size))
    labels = server.transfer_labels(rows) if labelled and server.each == 1 else None
    if labels is not None and labels.is_floating_point():
        labels = None
    x = server.federation.transfer(rows)
    return scores([view(server.model(spec), x, labels) for spec in specs]), torch.tensor(kinds)
