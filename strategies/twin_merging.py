"""Twin-Merging: shared knowledge by task arithmetic, plus what is exclusive to each client.

Lu et al., "Twin-Merging: Dynamic Integration of Modular Expertise in Model Merging", 2024.
Confidence: certain for the merging of fine-tuned models (the authors' code); the federated round
around it and the router are **a reconstruction**::

    theta*    = theta_0 + scaling * mean_n (theta_n - theta_0)
    v_n       = each matrix of theta_n - theta*, cut to `rank` of its singular values; vectors whole
    r_nm      = softmax over m of cos(theta_n - theta_0, theta_m - theta_0) / temperature
    teacher_n = theta* + sum_m r_nm * v_m

theta_0 is the theta* of the round before. The authors' router looks at each input; here there are
only parameters, so a client is routed by how alike the updates are. They take the *sum* over tasks
(scaling 0.29 to 0.7), which overshoots n-fold where the updates of n clients agree: on MNIST with
ten clients accuracy falls from round to round. The mean is our default, ``aggregate=sum`` is
theirs. They cut a matrix with fewer than ten singular values to rank 0; here each keeps one.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..knowledge import KnowledgeStack, Teacher
from ..maths.mixing import effective_neighbours
from ..models.lowrank import low_rank, shapes_of
from ..rounds.protocol import Outcome, RoundPlan
from .base import Records
from .parametric import ParameterFusion


class TwinMerging(ParameterFusion):
    """One merged model, and a mixture of compressed exclusive knowledge on top for each client.

    Parameters
    ----------
    scaling : float
        Weight of the merged updates, > 0.
    aggregate : {"mean", "sum"}
        Of the clients' updates.
    rank : float
        Share of each matrix's singular values that exclusive knowledge keeps, in (0, 1].
    router_temperature : float
        Of the router's softmax, > 0; small values leave each client its own exclusive knowledge.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        See `ParameterFusion`; ``shared.0`` is theta*. Who was away gets that.

    Examples
    --------
    >>> merging = TwinMerging(scaling=0.5)
    >>> merging.shapes, merging.state["shared.0"] = [(2,)], torch.zeros(2)
    >>> values = torch.tensor([[4.0, 0.0], [0.0, 2.0]])
    >>> stack = KnowledgeStack("parameters", values, [0, 1], torch.zeros(0, dtype=torch.int64))
    >>> merging.common(stack)
    tensor([1.0000, 0.5000])
    >>> merging.fuse(stack).round(decimals=2)  # each nearly its own: their updates have no overlap
    tensor([[4., 0.],
            [0., 2.]])
    """

    personalised = True
    one_model = False
    kinds = None

    def __init__(
        self,
        scaling: float = 0.7,
        aggregate: Literal["mean", "sum"] = "mean",
        rank: float = 0.1,
        router_temperature: float = 0.1,
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        if not scaling > 0 or not router_temperature > 0:
            given = f"scaling={scaling}, router_temperature={router_temperature}"
            raise ValueError(f"{given} must be greater than 0")
        if not 0 < rank <= 1:
            raise ValueError(f"rank={rank} must be above 0 and at most 1")
        self.scaling, self.aggregate, self.rank = scaling, aggregate, rank
        self.router_temperature = router_temperature
        self.shapes: list[tuple[int, ...]] = []

    def updates(self, knowledge: KnowledgeStack) -> Tensor:
        """Return ``theta_n - theta_0``, ``[clients, size]``."""
        return knowledge.values - self.state["shared.0"]

    def common(self, knowledge: KnowledgeStack) -> Tensor:
        """Return theta* ``[size]``."""
        updates = self.updates(knowledge)
        merged = updates.mean(dim=0) if self.aggregate == "mean" else updates.sum(dim=0)
        return self.state["shared.0"] + self.scaling * merged

    def routes(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the router's weights ``[clients, clients]``, rows on the simplex."""
        directions = F.normalize(self.updates(knowledge), dim=1)
        return (directions @ directions.T / self.router_temperature).softmax(dim=1)

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return each client's parameters ``[clients, size]``."""
        star = self.common(knowledge)
        exclusive = [low_rank(one - star, self.shapes, self.rank) for one in knowledge.values]
        return star + self.routes(knowledge) @ torch.stack(exclusive)

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Note what the parameters are made of."""
        self.shapes = shapes_of(plan.server.instances[0])
        return super().before_fit(plan)

    def fused(self, plan: RoundPlan, knowledge: KnowledgeStack, outcome: Outcome) -> Teacher:
        """Fuse; log the router's weights."""
        routes = self.routes(knowledge)
        outcome.weights = knowledge.clients, routes
        outcome.scalars["effective_neighbours"] = effective_neighbours(routes).mean().item()
        return super().fused(plan, knowledge, outcome)
