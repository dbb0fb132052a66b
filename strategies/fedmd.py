"""FedMD: every client learns from the plain mean of all clients' knowledge.

Li and Wang, "FedMD: Heterogenous Federated Learning via Model Distillation", arXiv 1910.03581.

Confidence: certain (official code). With ``f_n(x)`` the logits of client n on transfer sample x,
the consensus is ``Z(x) = (1/N) sum_n f_n(x)``, and each client minimises the mean absolute error
``|f_n(x) - Z(x)|`` (the *digest*), then trains on its private data (the *revisit*).

For a regression it is the mean of the clients' predictions; with variances, the mean and variance
of the mixture of their Gaussians (ours). ``weighting=precision`` weighs each client by how sure it
is of each sample (ours; standard algebra of Gaussians)::

    w_n = (1 / v_n) / sum_m 1 / v_m     mu = sum_n w_n mu_n     v = sum_n w_n (v_n + mu_n^2) - mu^2

The product rule's variance, ``1 / sum_n 1 / v_n``, would take errors that clients share for
independent ones. Who claims a small variance weighs most: this is no mean for hostile clients.

Three differences from the paper. A round starts with the private training and ends with the digest,
and there is no training on labelled public data beforehand: both are the same for every method
here. And its Adam makes steps of 0.001, where ``distil.lr`` is that of the fit (SGD, 0.05) unless
told otherwise. The absolute error pulls as hard near the consensus as far from it, so that clients
can overshoot: LeNet-5 on MNIST, 8 clients x 100 samples, 40 rounds of Dirichlet(1), two seeds: 82 %
local and 79 % global; with ``distil.lr=0.01`` 89 and 85; 20 rounds of Dirichlet(0.3): 59 and 28,
then 90 and 57. No rate suits all: where a round has few steps, such a rate learns next to nothing
(digits, 100 clients x 12 samples, ``experiment=demo``: 92 and 64, with 0.01 94 and 29). So the
default stays what it is for private data; try a fifth of it where clients lose much of what they
know.
"""

from typing import Any, Literal

from torch import Tensor

from ..knowledge import CLASS_SCORES, NUMBERS, KnowledgeStack
from ..maths.gaussians import precision_mean
from .mixtures import Mixed, MixingFusion

Weighting = Literal["uniform", "precision"]


class FedMD(MixingFusion):
    """Uniform mean of logits (the paper) or of soft labels.

    Parameters
    ----------
    exchange : {"logits", "soft_labels"}
        What clients upload. ``objective=auto`` is the paper's L1 for logits and KL for soft labels;
        ``objective=l1``, ``mse`` and ``kl`` are available for both.
    weighting : {"uniform", "precision"}
        What clients weigh in the mean of Gaussians (``task.variance=true``): all alike, or each by
        the inverse of the variance that it predicts for the sample and target.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[[1.0, 3.0]], [[3.0, -1.0]]])
    >>> FedMD().fuse(KnowledgeStack("logits", values, [0, 1], torch.arange(1)))
    tensor([[2., 1.]])
    >>> gaussians = torch.tensor([[[1.0, 1.0]], [[4.0, 0.5]]])  # means, then variances
    >>> stack = KnowledgeStack("gaussian_predictions", gaussians, [0, 1], torch.arange(1))
    >>> FedMD(weighting="precision").fuse(stack)
    tensor([[3.0000, 2.6667]])
    """

    per_sample = True
    sums_only = True
    """unless clients are weighted, which takes their variances one by one"""
    kinds = (*CLASS_SCORES, *NUMBERS)

    def __init__(
        self, exchange: Mixed = "logits", weighting: Weighting = "uniform", **base: Any
    ) -> None:
        super().__init__(exchange=exchange, **base)
        self.weighting = weighting
        self.sums_only = weighting == "uniform"

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the weighting, where clients predict no variances."""
        found = super().unused(kind)
        if kind != "gaussian_predictions":
            why = "weighs by variances, which a regression predicts with task.variance=true"
            found["weighting"] = f"{why}; leave it out"
        return found

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean ``[samples, classes]`` over clients."""
        if self.weighting == "precision":
            return precision_mean(knowledge.values)
        return knowledge.mean()
