"""SCARLET: DS-FL with a cache of soft labels that is the same at server and clients.

Azuma, Nishio, Kitagawa, Nakano, Tanimura, "Soft-Label Caching and Sharpening for
Communication-Efficient Federated Distillation", IEEE TMC 2026, arXiv 2504.19602. Confidence:
certain (official code)::

    teacher(x) = Enhanced ERA = pbar(x)^beta / sum_c pbar(x)^beta      pbar = mean_n p_n

A teacher label, once made, is used for D rounds, the one in which it was made included. Until then
clients are not asked to label that sample, and are not sent a label that they hold already.

Deviations. The official server signals for every sample that it is cached, newly cached or expired;
here it keeps the books itself (who holds which label) and sends rows and a mask. A label that
expires is cached anew at once, officially only the next time that the sample is drawn. Clients that
were absent are sent what they missed. The server has no model of its own.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..knowledge import KnowledgeStack, Teacher
from ..rounds.protocol import Outcome, RoundPlan
from .base import FusionStrategy, Records


class SCARLET(FusionStrategy):
    """Mean soft labels, sharpened by a power, kept in a synchronised cache.

    Parameters
    ----------
    beta : float
        Exponent, > 0: 1 is the plain mean, above 1 sharpens. 2 in the official code.
    duration : int
        D, >= 0: for how many rounds a label is used; 0 and 1 are without a cache.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        ``cache`` ``[U, classes]``, ``made`` ``[U]`` (in which round, 0 = never) and ``held``
        ``[clients, U]`` (who has it), for the U samples of the transfer set.

    Examples
    --------
    >>> labels = torch.tensor([[[0.9, 0.1]], [[0.6, 0.4]]])
    >>> SCARLET().fuse(KnowledgeStack("soft_labels", labels, [0, 1], torch.arange(1)))
    tensor([[0.9000, 0.1000]])
    """

    exchange = "cached_labels"
    per_sample = True
    sums_only = True

    def __init__(self, beta: float = 2.0, duration: int = 50, **base: float | None) -> None:
        super().__init__(**base)
        if not 0 < beta < float("inf"):
            raise ValueError(f"beta={beta} must be greater than 0 and finite")
        if duration < 0:
            raise ValueError(f"duration={duration} must be at least 0")
        self.beta, self.duration = beta, duration
        self.keeps_labels = duration > 1

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Warn where labels of the first round are the only ones that there will be."""
        del models
        size, lasts = config.transfer.size or 0, self.duration >= config.rounds > 1
        if not lasts or (config.transfer.per_round or size) < size:
            return []
        why = f"lasts for all {config.rounds} rounds, each of which takes the whole transfer set"
        remedy = "the teacher stays that of round 1; have fewer, or a small transfer.per_round"
        return [f"strategy.duration={self.duration} {why}: {remedy}"]

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the teacher ``[samples, classes]`` of the samples that were asked for."""
        return enhanced_era(knowledge.soft_labels.mean(dim=0), self.beta)

    def asked(self, plan: RoundPlan) -> Tensor:
        """Return the samples whose label is missing or has expired."""
        if not self.state:
            size, clients = plan.server.transfer_rows, plan.server.clients
            self.state["cache"] = torch.zeros(size, plan.server.width)
            self.state["made"] = torch.zeros(size, dtype=torch.int64)
            self.state["held"] = torch.zeros(clients, size, dtype=torch.bool)
        made = self.state["made"][plan.sample_ids]
        due = (made == 0) | (plan.number - made >= self.duration)
        return plan.sample_ids if due.all() else plan.sample_ids[due]

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Cache the new labels; return those of all samples of the round."""
        ids = knowledge.sample_ids
        self.state["cache"][ids] = teacher.values
        self.state["made"][ids] = plan.number
        self.state["held"][:, ids] = False
        return Teacher(teacher.kind, self.state["cache"][plan.sample_ids], teacher.clients)

    def lessons(self, plan: RoundPlan, teacher: Teacher) -> Mapping[int, Records]:
        """Send each client the labels that it does not hold."""
        lacking: dict[tuple[bool, ...], list[int]] = {}
        for client in teacher.clients:
            missing = ~self.state["held"][client, plan.sample_ids]
            lacking.setdefault(tuple(missing.tolist()), []).append(client)
        lessons: dict[int, Records] = {}
        for rows, clients in lacking.items():
            mask = None if all(rows) else torch.tensor(rows, dtype=torch.bool)
            part = Teacher(teacher.kind, teacher.values, clients, mask)
            lessons |= {client: {"teacher": record} for client, record in part.records().items()}
        return lessons

    def after_round(self, plan: RoundPlan, outcome: Outcome) -> None:
        """Note who holds what, and how many labels came from the cache."""
        if outcome.knowledge is None:
            return
        ids, taught = plan.sample_ids, outcome.knowledge.clients
        for client in taught:
            self.state["held"][client, ids] = True
        # Whoever failed with its lesson is taken to hold nothing, so that it recovers.
        lost = [client for client in taught if client in outcome.rejected]
        self.state["held"][lost] = False
        outcome.scalars["from_cache"] = len(ids) - len(outcome.knowledge.sample_ids)


def enhanced_era(p: Tensor, beta: float) -> Tensor:
    """Return ``p^beta / sum p^beta`` over the last dimension.

    It is computed from logarithms: the power itself is 0 in float32 for a large beta.

    Examples
    --------
    >>> enhanced_era(torch.tensor([0.75, 0.25]), 2.0)
    tensor([0.9000, 0.1000])
    >>> enhanced_era(torch.tensor([0.6, 0.4, 0.0]), 500.0)
    tensor([1., 0., 0.])
    """
    return (beta * p.log()).softmax(dim=-1)
