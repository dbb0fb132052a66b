"""Dynamic logits: a client's own logits plus what the others have learnt, as far as they moved.

Fan, Lu, Wei, Tian, Qu, Chen, Cheng, "On Giant's Shoulders: Effortless Weak to Strong by Dynamic
Logits Fusion", NeurIPS 2024, arXiv 2406.15480. It was made for adding what small fine-tuned
language models have learnt to a large one; that it is a fusion method for clients is a
reconstruction. Confidence: certain for the multi-expert equation. On each sample, with own logits
z_L, experts z_t and a model z_base that has learnt nothing::

    P(a) = softmax( z_L + a * sum_t (z_t - z_base) )
    a    = argmin over a grid on [0, 2] of
           sum_t (KL(P(a)||P) - KL(Q_t||Q))^2 + (KL(P||P(a)) - KL(Q||Q_t))^2
    P = softmax z_L    Q = softmax z_base    Q_t = softmax z_t

so the fused row leaves P about as far as the experts have left the base. **Reconstructed**: the
experts are the other clients, all of them or the nearest (L2 of soft labels, sample by sample); the
base is the model that the server starts from, and the same for all; there is one a for all experts
of a sample (in the equation one for each, which a grid cannot search); and the P_t of the
reference's equation is read as the fused P(a), as it is with a single expert. The teacher is sent
as the logits ``z_L + a * sum_t (z_t - z_base)``.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..knowledge import KnowledgeStack
from ..rounds.protocol import RoundPlan
from ..rounds.server import Server, Study, study
from .base import FusionStrategy, Records
from .server_model import fresh, unbuildable


class DynamicLogits(FusionStrategy):
    """Adds the other clients' shifts to a client's own logits, scaled sample by sample.

    Parameters
    ----------
    top_k : int or None
        Experts of each sample, the nearest, at least 1; None = all other clients.
    largest : float
        End of the grid for a, > 0.
    steps : int
        Steps of the grid, >= 1.
    base_model : str or None
        Architecture of the base, as for ``model=``; None = that of the first client.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        ``base`` ``[U, classes]``, the base's logits on the whole transfer set.

    Examples
    --------
    >>> strategy = DynamicLogits()
    >>> strategy.state["base"] = torch.zeros(1, 2)
    >>> logits = torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]])
    >>> strategy.fuse(KnowledgeStack("logits", logits, [0, 1], torch.arange(1)))[0]
    tensor([[2., 0.]])
    """

    exchange = "logits"
    per_sample = True
    personalised = True

    def __init__(
        self,
        top_k: int | None = None,
        largest: float = 2.0,
        steps: int = 20,
        base_model: str | None = None,
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1")
        if not 0 < largest < float("inf"):
            raise ValueError(f"largest={largest} must be greater than 0 and finite")
        if steps < 1:
            raise ValueError(f"steps={steps} must be at least 1")
        self.top_k, self.largest, self.steps = top_k, largest, steps
        self.base_model = base_model

    def refusal(self, server: Server) -> str | None:
        """Say so if there is no such model."""
        return unbuildable(server, self.base_model, "base_model", trains=False)

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Have the base label the transfer set, once; send nothing."""
        if "base" not in self.state:
            everything = torch.arange(plan.server.transfer_rows)
            model = fresh(plan.server, self.base_model)
            ((_, logits),) = plan.blocks.map(
                study, [Study(model, plan.server.transfer(everything))]
            )
            self.state["base"] = logits
        return {}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the teachers' logits ``[clients, samples, classes]``."""
        own, base = knowledge.logits, self.state["base"][knowledge.sample_ids]
        moves = torch.cat([own - base, kl(own, base)[..., None], kl(base, own)[..., None]], dim=-1)
        return torch.stack([self._teacher(i, own, moves) for i in range(len(own))])

    def _teacher(self, i: int, own: Tensor, moves: Tensor) -> Tensor:
        """Return the fused logits ``[samples, classes]`` of the i-th client.

        The sum over experts of squared distances from k is least for the a whose k is nearest to
        the experts' mean.
        """
        total, count = experts(own, i, moves, self.top_k)
        shift, away, back = total[:, :-2], total[:, -2] / count, total[:, -1] / count
        grid = torch.linspace(0, self.largest, self.steps + 1)
        fused = own[i] + grid[:, None, None] * shift
        cost = (kl(fused, own[i]) - away).square() + (kl(own[i], fused) - back).square()
        best = cost.argmin(dim=0)
        return fused.gather(0, best[None, :, None].expand(1, *shift.shape))[0]


def experts(logits: Tensor, i: int, moves: Tensor, top_k: int | None) -> tuple[Tensor, int]:
    """Return the sum of the moves of the i-th client's experts ``[samples, dim]``; their number.

    Parameters
    ----------
    logits : Tensor
        ``[n, samples, classes]``.
    i : int
        Whose experts.
    moves : Tensor
        ``[n, samples, dim]``.
    top_k : int or None
        How many; None = all other clients.
    """
    others = [j for j in range(len(logits)) if j != i]
    if top_k is None or top_k >= len(others):
        return moves.sum(dim=0) - moves[i], max(1, len(others))
    soft = logits.softmax(dim=-1)
    apart = (soft[others] - soft[i]).norm(dim=-1)
    nearest = apart.sort(dim=0, stable=True).indices[:top_k].unsqueeze(-1)
    picked = moves[others].gather(0, nearest.expand(-1, -1, moves.shape[-1]))
    return picked.sum(dim=0), top_k


def kl(p: Tensor, q: Tensor) -> Tensor:
    """Return ``KL(softmax p || softmax q)`` over the last dimension, in nats."""
    p, q = p.log_softmax(dim=-1), q.log_softmax(dim=-1)
    return (p.exp() * (p - q)).sum(dim=-1)
