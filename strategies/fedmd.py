"""FedMD: every client learns from the plain mean of all clients' knowledge.

Li and Wang, "FedMD: Heterogenous Federated Learning via Model Distillation", arXiv 1910.03581.

Confidence: certain (official code). With ``f_n(x)`` the logits of client n on transfer sample x,
the consensus is ``Z(x) = (1/N) sum_n f_n(x)``, and each client minimises the mean absolute error
``|f_n(x) - Z(x)|`` (the *digest*), then trains on its private data (the *revisit*).

For a regression it is the mean of the clients' predictions; with variances, the mean and variance
of the mixture of their Gaussians (ours).

Two differences from the paper, which are the same for every method here: a round starts with the
private training and ends with the digest, and there is no training on labelled public data
beforehand.
"""

from typing import Any

from torch import Tensor

from ..knowledge import CLASS_SCORES, NUMBERS, KnowledgeStack
from .mixtures import Mixed, MixingFusion


class FedMD(MixingFusion):
    """Uniform mean of logits (the paper) or of soft labels.

    Parameters
    ----------
    exchange : {"logits", "soft_labels"}
        What clients upload. ``objective=auto`` is the paper's L1 for logits and KL for soft labels;
        ``objective=l1``, ``mse`` and ``kl`` are available for both.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[[1.0, 3.0]], [[3.0, -1.0]]])
    >>> FedMD().fuse(KnowledgeStack("logits", values, [0, 1], torch.arange(1)))
    tensor([[2., 1.]])
    """

    per_sample = True
    sums_only = True
    kinds = (*CLASS_SCORES, *NUMBERS)

    def __init__(self, exchange: Mixed = "logits", **base: Any) -> None:
        super().__init__(exchange=exchange, **base)

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean ``[samples, classes]`` over clients."""
        return knowledge.mean()
