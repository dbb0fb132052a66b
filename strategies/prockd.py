"""ProC-KD: clients with other classes learn from each other, as far as their prototypes agree.

Li et al., "Prototype-guided Cross-task Knowledge Distillation for Large-scale Models", 2022, arXiv
2212.13180 (ProC-KD), and "ProKD: An Unsupervised Prototypical Knowledge Distillation Network for
Zero-Resource Cross-Lingual Named Entity Recognition", 2023, arXiv 2301.08855. Confidence: inferred
(abstracts only: prototypes carry knowledge across label spaces, and a student's own prototypes make
the pseudo-labels that it trains itself with). Ours::

    teacher(x)  = mean_n z_n(x)                                             z_n: logits
    mu_n[c]     = mean of h_n(x) over client n's samples of class c       h_n: what the head is fed
    q_n(c | x)  = softmax over the classes c of client n of  -||h_n(x) - mu_n[c]||^2 / (tau * v_n)
    v_n         = mean of ||h_n(x) - mu_n[y]||^2 over client n's samples
    client n learns from x if   q_n(c*|x) >= trust,   c* = argmax teacher(x),
                           or   it has no sample of c*, and absent=true

So a client's prototypes have a veto on what the others say of its own classes, and none on classes
outside its label space, which only the others can teach it. Prototypes stay at the clients: their
features have nothing in common across architectures, and classes have no prototype everywhere.
Trust 0 is the plain mean. The contrastive loss of the papers between own and global prototypes is
left out (``strategy=fedproto`` has a fit-side loss on prototypes).
"""

from typing import Any

from torch import Tensor

from ..knowledge import KnowledgeStack
from .base import FusionStrategy


class ProCKD(FusionStrategy):
    """Mean logits, learnt from where the client's own prototypes agree.

    Parameters
    ----------
    tau : float
        Softness of the prototypes' labels, in mean squared distances of private samples from their
        prototypes, > 0.
    trust : float
        Least probability that prototypes must give the teacher's class, in [0, 1].
    absent : bool
        Whether a client learns of classes that it has no samples of.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[[1.0, 0.0]], [[2.0, 4.0]]])
    >>> ProCKD().fuse(KnowledgeStack("logits", logits, [0, 1], torch.arange(1)))
    tensor([[1.5000, 2.0000]])
    """

    exchange = "prototype_logits"
    needs_classes = True
    per_sample = True
    sums_only = True

    def __init__(
        self, tau: float = 0.1, trust: float = 0.5, absent: bool = True, **base: float | None
    ) -> None:
        super().__init__(**base)
        self.tau, self.trust, self.absent = tau, trust, absent

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        own = {"tau": self.tau, "trust": self.trust, "absent": self.absent}
        return {"name": self.exchange, **own}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the clients' mean ``[samples, classes]``."""
        return knowledge.mean()
