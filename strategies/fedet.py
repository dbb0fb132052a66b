"""Fed-ET: clients that are surer count for more, and the server also hears those who disagree.

Cho, Manoel, Joshi, Sim, Dimitriadis, "Heterogeneous Ensemble Knowledge Transfer for Training Large
Models in Federated Learning", IJCAI 2022, arXiv 2204.12703 (Fed-ET). Confidence: certain from
third-party code and notes on the paper (the repository is not publicly confirmed). On transfer
sample x::

    var_n = Var_c( log-softmax f_n(x) )           w_n = var_n / sum_m var_m
    z     = sum_n w_n f_n(x)                      y   = argmax_c z_c
    d     = sum over {n: argmax f_n(x) != y} of w_n f_n(x), w renormalised over them
    server loss = CE(f_0(x), y) + diversity * KL( softmax d || softmax f_0(x) )

The second term is left out for samples on which all clients agree. The logarithm of softmax and
the logits themselves have the same variance: they differ by a constant of the row.

Deviations. In the original the server's head is copied onto the clients' representation layers.
Here models may differ in every layer, so clients distil the server model's soft labels on the
transfer set instead. That d is a mean of logits (not of probabilities) is inferred. The server
makes epochs over the transfer set instead of 128 iterations at 0.005.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..knowledge import KnowledgeStack, Teacher
from ..rounds.protocol import RoundPlan
from .server_model import ServerStudent


class FedET(ServerStudent):
    """Variance-weighted consensus and its dissenters train the server's model, the teacher.

    Parameters
    ----------
    diversity : float
        Weight of the dissenters, >= 0; 0.05 in the paper.
    **base
        See `ServerStudent`.

    Examples
    --------
    >>> logits = torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]]])
    >>> FedET().fuse(KnowledgeStack("logits", logits, [0, 1], torch.arange(1)))
    tensor([[3.2000, 0.4000]])
    """

    exchange = "logits"
    per_sample = True

    def __init__(self, diversity: float = 0.05, **base: Any) -> None:
        super().__init__(**base)
        if not diversity >= 0:
            raise ValueError(f"diversity={diversity} must be at least 0")
        self.diversity = diversity

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the consensus z ``[samples, classes]``."""
        weights = confidence(knowledge.logits)
        return (weights.unsqueeze(-1) * knowledge.logits).sum(dim=0)

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Return the logits of the server's model, after it has learnt from the consensus."""
        label = teacher.values.argmax(dim=-1)
        target, heard = dissent(knowledge.logits, label)
        targets = {"label": label, "dissent": target, "heard": heard}
        logits = self.learnt(plan, targets, partial(consensus_loss, diversity=self.diversity))
        return Teacher("logits", logits, knowledge.clients)


def confidence(logits: Tensor) -> Tensor:
    """Return weights ``[n, samples]`` in proportion to the variance over classes.

    Where no client prefers anything, all count alike.

    Examples
    --------
    >>> confidence(torch.tensor([[[3.0, 1.0]], [[5.0, 5.0]]])).flatten()
    tensor([1., 0.])
    """
    variance = logits.log_softmax(dim=-1).var(dim=-1)
    total = variance.sum(dim=0)
    return torch.where(total > 0, variance / total, 1 / len(logits))


def dissent(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean logits of those who disagree with a label, and for which samples some do.

    Parameters
    ----------
    logits : Tensor
        ``[n, samples, classes]``.
    label : Tensor
        ``[samples]``.

    Returns
    -------
    target : Tensor
        ``[samples, classes]``, 0 where all agree.
    heard : Tensor
        ``[samples]`` bool.
    """
    weights = confidence(logits) * (logits.argmax(dim=-1) != label)
    total = weights.sum(dim=0)
    shares = weights / torch.where(total > 0, total, 1.0)
    return (shares.unsqueeze(-1) * logits).sum(dim=0), total > 0


def consensus_loss(logits: Tensor, batch: dict[str, Tensor], diversity: float) -> Tensor:
    """Return the server's loss, mean over the batch, in nats."""
    agree = F.cross_entropy(logits, batch["label"])
    target, student = batch["dissent"].log_softmax(dim=-1), logits.log_softmax(dim=-1)
    each = F.kl_div(student, target, reduction="none", log_target=True).sum(dim=-1)
    return agree + diversity * (each * batch["heard"]).mean()
