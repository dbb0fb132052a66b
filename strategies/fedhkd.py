"""FedHKD: clients exchange mean features and mean soft predictions of each class.

Chen, Wang, Vikalo, "The Best of Both Worlds: Accurate Global and Personalized Models through
Federated Learning with Data-Free Hyper-Knowledge Distillation", ICLR 2023, arXiv 2301.08968.
Confidence: certain (official code), but for `match`::

    H_n[c] = mean of h_n(x) over client n's samples of class c, + N(0, std^2)
    Q_n[c] = mean of softmax(f_n(x) / T) over the same                          T = 0.5
    H[c], Q[c] = means over the clients that have c
    loss_n = CE(f_n(x), y) + predictions * mean_c gap( softmax(head_n(H[c]) / T), Q[c] )
                           + features * MSE(h_n(x), H[y])

Traps of the official code, not repeated: the server merges the clients' dictionaries, so that the
last client's means overwrite those before it instead of being averaged; the noise is drawn once for
all classes, so that differences between classes carry none; and gap is a KL divergence where the
paper has a Euclidean norm (``match``).

Deviations. The paper uploads the model too, for FedAvg (without it, an issue of the official code
reports chance accuracy of the global model); here models stay at home, so that they may differ, and
each is measured by itself. Features are averaged (or repeated) to `dim` numbers, and back to a
head's own width. The official code's noise is calibrated to no budget, and features are not
clipped: it is no differential privacy.
"""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from ..config import RunConfig
from ..knowledge import KnowledgeStack
from .classwise import ClassFusion
from .fedproto import DIM, settled_width


class FedHKD(ClassFusion):
    """Class means of features and of soft predictions, as extra targets of private training.

    Parameters
    ----------
    predictions, features : float
        Weights of the two terms (lambda and gamma of the paper), >= 0.
    std : float
        Standard deviation of the noise on the mean features, >= 0; 2 in the official code.
    softness : float
        Softmax temperature of the soft predictions, > 0.
    match : {"l2", "kl"}
        The paper's distance between predictions, or that of its code.
    dim : int or None
        Mean features of a class, see `FedProto`.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> means = torch.tensor([[[1.0, 0.2]], [[3.0, 0.4]]])  # one class, one feature
    >>> none = torch.zeros(0, dtype=torch.int64)
    >>> has = torch.tensor([[True], [True]])
    >>> FedHKD(dim=1).fuse(KnowledgeStack("class_knowledge", means, [0, 1], none, has))
    tensor([[2.0000, 0.3000]])
    """

    exchange = "hyper_knowledge"
    sums_only = True

    def __init__(
        self,
        predictions: float = 0.05,
        features: float = 0.05,
        std: float = 2.0,
        softness: float = 0.5,
        match: Literal["l2", "kl"] = "l2",
        dim: int | None = None,
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        weights = {"predictions": predictions, "features": features}
        self.client = weights | {"std": std, "softness": softness, "match": match}
        self.dim, self.width = dim, DIM if dim is None else dim

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        return {"name": self.exchange, "dim": self.width, **self.client}

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Choose the width of mean features, if none is given."""
        del config
        self.width, notes = settled_width(self.dim, models)
        return notes

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the means ``[classes, dim + classes]`` over those who have a class."""
        assert knowledge.mask is not None
        clients = knowledge.mask.sum(dim=0).clamp_min(1)
        return knowledge.values.sum(dim=0) / clients.unsqueeze(-1)
