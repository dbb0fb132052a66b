"""FedRE: the server trains a head on one random mixture of class means a client.

Yao, Wang, Wu, Song, Chen, Wang, Tian, Chen, Li, Li, "FedRE: A Representation Entanglement Framework
for Model-Heterogeneous Federated Learning", CVPR 2026, arXiv 2511.22265. Confidence: certain
(official code)::

    loss_k = CE(f_k(x), y)                                    a client trains its whole model
    r_k    = U(0, 1) for each class that k has, over their sum; drawn anew in each round
    h_k    = sum_c r_k[c] p_k[c]                              p_k[c]: mean features of class c
    head  <- head - lr grad of sum_k sum_c r_k[c] CE(head(h_k), c)      batches of this round's k

A client sends h and r, so ``dim + C`` numbers, in place of FedGH's ``C * dim``, and no class mean
by itself unless it has one class. The head goes on from round to round; who is away contributes
nothing, and takes the newest head when it comes back. Losses of a batch are added, not averaged.

Traps of the released code: one half of it never sends the head, and takes the maximum of no results
at its end; the head is the very object of client 0, which so trains it along.
"""

from torch import Tensor

from ..knowledge import KnowledgeStack
from .taught_heads import HeadTraining


class FedRE(HeadTraining):
    """A head that is trained at the server on mixed class means.

    Parameters
    ----------
    epochs : int
        Passes over a round's mixtures at the server, at least 0.
    lr : float
        Its learning rate, > 0.
    batch_size : int
        Its batch size, at least 1.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        See `ParameterFusion`; a group has heads of one shape.

    Examples
    --------
    >>> import torch
    >>> mixed, r = torch.tensor([[[0.25, 0.75]]]), torch.tensor([[0.25, 0.75]])
    >>> none = torch.zeros(0, dtype=torch.int64)
    >>> stack = KnowledgeStack("class_knowledge", mixed, [0], none, extras={"shares": r})
    >>> FedRE().rows(stack)
    (tensor([[0.2500, 0.7500]]), tensor([[0.2500, 0.7500]]))
    """

    exchange = "entangled_means"
    reduction = "sum"

    def __init__(
        self, epochs: int = 1, lr: float = 0.01, batch_size: int = 32, **base: float | None
    ) -> None:
        super().__init__(epochs, lr, batch_size, **base)

    def rows(self, knowledge: KnowledgeStack) -> tuple[Tensor, Tensor]:
        """Return the clients' mixtures, and the classes' shares in them, which sum to 1."""
        shares = knowledge.extras["shares"]
        return knowledge.values[:, 0], shares / shares.sum(dim=1, keepdim=True).clamp_min(1e-12)
