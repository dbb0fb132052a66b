"""FedNova: who takes more steps does not pull the mean further its own way.

Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in Heterogeneous
Federated Optimization", NeurIPS 2020, arXiv 2007.07481. Confidence: certain (official code)::

    a_k  = sum over i = 1..steps of (1 - m^i) / (1 - m)     m: clients' momentum; 0: the steps
    d_k  = (w - w_k) / a_k                                  a client's movement by what carried it
    tau  = sum_k p_k a_k                                    p_k = samples_k / samples of the round
    v   <- server_momentum * v + tau * sum_k p_k d_k
    w   <- w - v

With equal a_k and no momentum of the server it is FedAvg. Clients begin each round without
momentum, and need no memory: who is away, or new, does as all others. The steps are counted, not
planned. BatchNorm's statistics are no movement of steps: they are averaged as FedAvg does.

Of the official code: it needs all clients in every round; and momentum together with its proximal
term applies two rules for a_k at once. There is no proximal term here.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..knowledge import Knowledge, KnowledgeStack
from ..models.flat import trained
from ..rounds.protocol import RoundPlan
from .base import Records
from .corrections import CorrectedFusion


class FedNova(CorrectedFusion):
    """Mean movement a step, times the mean number of steps.

    Parameters
    ----------
    server_momentum : float
        Momentum of the server, in [0, 1).
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        See `ParameterFusion`; and ``velocity`` ``[size]``, v, with momentum.

    Examples
    --------
    >>> method, none = FedNova(), torch.zeros(0, dtype=torch.int64)
    >>> method.state["shared.0"] = torch.zeros(1)
    >>> moved = torch.tensor([[-0.1], [0.3]])  # gradients 1 and -1, lr 0.1, steps 1 and 3
    >>> extras = {"samples": torch.ones(2, 1), "steps": torch.tensor([[1.0], [3.0]])}
    >>> method.fuse(KnowledgeStack("parameters", moved, [0, 1], none, extras=extras))
    tensor([0.])
    """

    exchange = "counted_steps"

    def __init__(self, server_momentum: float = 0.0, **base: float | None) -> None:
        super().__init__(**base)
        if not 0 <= server_momentum < 1:
            raise ValueError(f"server_momentum={server_momentum} must be at least 0 and below 1")
        self.server_momentum = server_momentum
        self.moves: Tensor | None = None  # which numbers steps move; None = all

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Note which numbers are parameters."""
        self.moves = trained(plan.server.instances[0])
        return super().before_fit(plan)

    def common(self, knowledge: KnowledgeStack) -> Tensor:
        """Return ``w - tau sum_k p_k d_k``, ``[size]``."""
        before, samples = self.state["shared.0"], knowledge.extras["samples"].clamp_min(1)
        share, steps = samples / samples.sum(), knowledge.extras["steps"]
        paces = (before - knowledge.values) / steps.clamp_min(1)
        moved = before - (share * steps).sum() * (share * paces).sum(dim=0)
        if self.moves is None:
            return moved
        return torch.where(self.moves, moved, (share * knowledge.values).sum(dim=0))

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Return the next model: as far as momentum carries it."""
        del plan, admitted
        if not self.server_momentum:
            return shared
        step, none = self.state["shared.0"] - shared[0], torch.zeros_like(shared[0])
        velocity = self.server_momentum * self.state.get("velocity", none) + step
        if self.moves is not None:
            velocity = torch.where(self.moves, velocity, step)
        self.state["velocity"] = velocity
        return {0: self.state["shared.0"] - velocity}
