"""FedGEMS: a labelled transfer set says whom to believe, client by client and sample by sample.

Cheng, Wu, Xiao, Liu, Liu, "FedGEMS: Federated Learning of Larger Server Models via Selective
Knowledge Fusion", 2021, arXiv 2110.11027. Confidence: certain (a public implementation). The server
has a model f_0 of its own and a pool of the logits that it once got right. In each round, for
sample x with label y::

    f_0 right              learn y; the pool keeps f_0(x)
    f_0 wrong, pooled      eps * CE(y) + (1 - eps) * KL( softmax pool(x) || softmax f_0(x) )
    f_0 wrong, not pooled  the same with the ensemble sum_n a_n f_n(x) for the pool
    a = softmax over n of ( 1 / entropy of softmax f_n(x) if argmax f_n(x) = y, else 0 )

    client: CE on private data, then eps * CE(y) + (1 - eps) * KL( softmax f_0(x) || p_n(x) )

The client's two terms are sent as one teacher ``eps * onehot(y) + (1 - eps) * softmax f_0(x)``:
cross-entropy is linear in its target, so the KL from that mixture has the same gradient (at
``distil.temperature=1``). The KLs are from the teacher to the student, summed over classes and
averaged over samples; the public implementation has them the other way round and averaged over
classes too.

Deviations. Who is right, and what the pool keeps, is decided at the start of a round and not batch
by batch. That the ensemble is a mean of logits (not of probabilities) is inferred.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..knowledge import KnowledgeStack, Teacher
from ..maths.mixing import entropy
from ..rounds.protocol import RoundPlan
from .server_model import ServerStudent

SURE = 1e-3
"""Entropy in nats below which a client is as sure as can be: 1/entropy must stay finite."""


class FedGEMS(ServerStudent):
    """The server's model learns from labels and from clients that are right; it is the teacher.

    Parameters
    ----------
    eps : float
        Weight of the labels, in [0, 1].
    **base
        See `ServerStudent`.

    Attributes
    ----------
    state : dict
        ``pool`` ``[U, classes]`` and ``pooled`` ``[U]`` for the U samples of the transfer set,
        beside what `ServerStudent` has.

    Examples
    --------
    >>> logits = torch.tensor([[[9.0, 0.0]], [[0.0, 1.0]]])
    >>> knows = KnowledgeStack("logits", logits, [0, 1], torch.arange(1), labels=torch.tensor([0]))
    >>> FedGEMS().fuse(knows)
    tensor([[9., 0.]])
    """

    exchange = "logits"
    per_sample = True
    needs_labels = True

    def __init__(self, eps: float = 0.75, **base: Any) -> None:
        super().__init__(**base)
        if not 0 <= eps <= 1:
            raise ValueError(f"eps={eps} must be in [0, 1]")
        self.eps = eps

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the ensemble's logits ``[samples, classes]``."""
        assert knowledge.labels is not None
        weights = credit(knowledge.logits, knowledge.labels)
        return (weights.unsqueeze(-1) * knowledge.logits).sum(dim=0)

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Return labels and the soft labels of the server's model, after it has learnt, mixed."""
        assert knowledge.labels is not None
        labels, guess = knowledge.labels, self.guessed(plan)
        right = guess.argmax(dim=-1) == labels
        source = self._source(plan, guess, right, teacher.values)
        share = torch.where(right, 1.0, self.eps)
        targets = {"label": labels, "source": source, "share": share}
        logits = self.learnt(plan, targets, selective_loss)
        return Teacher("soft_labels", mixture(labels, logits, self.eps), knowledge.clients)

    def _source(self, plan: RoundPlan, guess: Tensor, right: Tensor, ensemble: Tensor) -> Tensor:
        """Renew the pool; return its logits where it has some, else the ensemble's."""
        if "pool" not in self.state:
            size = plan.server.transfer_rows
            self.state["pool"] = torch.zeros(size, plan.server.width)
            self.state["pooled"] = torch.zeros(size, dtype=torch.bool)
        self.state["pool"][plan.sample_ids[right]] = guess[right]
        self.state["pooled"][plan.sample_ids[right]] = True
        pooled = self.state["pooled"][plan.sample_ids].unsqueeze(-1)
        return torch.where(pooled, self.state["pool"][plan.sample_ids], ensemble)


def credit(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the clients' weights ``[n, samples]``, columns on the simplex.

    Examples
    --------
    >>> credit(torch.zeros(2, 1, 3), torch.tensor([2])).flatten()
    tensor([0.5000, 0.5000])
    """
    sureness = 1 / entropy(logits.softmax(dim=-1)).clamp_min(SURE)
    right = logits.argmax(dim=-1) == labels
    return torch.where(right, sureness, 0.0).softmax(dim=0)


def mixture(labels: Tensor, logits: Tensor, eps: float) -> Tensor:
    """Return ``eps * onehot(labels) + (1 - eps) * softmax(logits)``."""
    soft = logits.softmax(dim=-1)
    return eps * F.one_hot(labels, soft.shape[-1]) + (1 - eps) * soft


def selective_loss(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Return ``share * CE(label) + (1 - share) * KL(source || student)``, mean over the batch."""
    student, source = logits.log_softmax(dim=-1), batch["source"].log_softmax(dim=-1)
    hard = F.nll_loss(student, batch["label"], reduction="none")
    soft = F.kl_div(student, source, reduction="none", log_target=True).sum(dim=-1)
    return (batch["share"] * hard + (1 - batch["share"]) * soft).mean()
