"""FedGH: the server trains a head on the clients' class means, for models of any kind below.

Yi, Wang, Liu, Shi, Yu, "FedGH: Heterogeneous Federated Learning with Generalized Global Header",
ACM MM 2023, arXiv 2303.13137. Confidence: certain (official code, and the authors of HtFLlib's)::

    loss_n = CE(f_n(x), y)                                a client trains its whole model
    P_n[c] = mean of what n's head is fed, over its samples of class c
    head  <- head - lr grad of mean CE(head(P_n[c]), c)   batches of this round's (n, c)
    f_n    = head of the server on the body of n

The head goes on from round to round; who is away contributes nothing, and takes the newest head
when it comes back. Epochs, lr and batches are HtFLlib's; the official server makes one step for
each (n, c).

Trap: the official server steps the optimiser of a client's model, and never that of the head, which
so stays at its random start. Here it is the head that learns. Deviation: means are of all of a
client's samples, by the model as it is after its fit; officially of the batches' means, the last of
which counts too much.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..knowledge import KnowledgeStack
from .taught_heads import HeadTraining


class FedGH(HeadTraining):
    """A head that is trained at the server on class means, on top of each client's own body.

    Parameters
    ----------
    epochs : int
        Passes over a round's class means at the server, at least 0.
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
    >>> means, has = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[True, False]])
    >>> none = torch.zeros(0, dtype=torch.int64)
    >>> FedGH().rows(KnowledgeStack("class_knowledge", means, [0], none, has))
    (tensor([[1., 0.]]), tensor([[1., 0.]]))
    """

    exchange = "taught_head"

    def __init__(
        self, epochs: int = 100, lr: float = 0.01, batch_size: int = 10, **base: float | None
    ) -> None:
        super().__init__(epochs, lr, batch_size, **base)

    def rows(self, knowledge: KnowledgeStack) -> tuple[Tensor, Tensor]:
        """Return the class means of each client, and their classes as ones."""
        assert knowledge.mask is not None
        classes = torch.nonzero(knowledge.mask)[:, 1]
        return knowledge.values[knowledge.mask], F.one_hot(classes, knowledge.mask.shape[1]).float()
