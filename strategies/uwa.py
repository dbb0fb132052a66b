"""UWA: soft labels weighted by how certain a client can be of a sample. Experimental.

Kovalchuk et al., "Who to Trust? Aggregating Client Predictions in Federated Distillation", arXiv
2509.15147. Confidence: inferred, but for the idea. **Certain** (the abstract): clients' predictions
are weighted by density-based estimates of uncertainty, which helps under strong heterogeneity and
matches the plain mean without. **A reconstruction**: everything else, as no formula and no code are
publicly confirmed::

    h_n(x)     features of x, what client n's model computes before its last layer
    u_n(x)     = max(0, typical_n - log density_n(h_n(x))) / dim
    w_n(x)     = exp(-u_n(x) / tau) / sum_m exp(-u_m(x) / tau)
    teacher(x) = sum_n w_n(x) p_n(x)

The density is fitted to three quarters of the private features; typical_n is the median log
density of the rest. So weights are normalised densities to the power ``1 / tau``, each in units of
what its client calls normal: models of different architecture have no features in common, and
their densities cannot be compared otherwise. tau -> infinity is the plain mean. The paper's second
method, sUWA, is not here.
"""

from typing import Any, ClassVar, Literal

from torch import Tensor

from ..knowledge import KnowledgeStack
from ..maths.density import score_weights
from ..maths.robust import weighted_mean
from .mixtures import MixingFusion


class UWA(MixingFusion):
    """Mean soft labels, weighted for each sample by the density of the clients' own data there.

    Parameters
    ----------
    tau : float
        Softness of the weights, > 0.
    density : {"class_gaussian", "gaussian", "kernel"}
        A diagonal Gaussian for each class, one for all, or a Gaussian kernel density.
    dim : int
        Features, averaged down from what a model has, at least 1.
    **base
        See `MixingFusion`.

    Examples
    --------
    >>> import torch
    >>> labels = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> scores = torch.tensor([[0.9], [0.3]])
    >>> UWA(tau=1.0).fuse(
    ...     KnowledgeStack("soft_labels", labels, [0, 1], torch.arange(1), scores=scores)
    ... )
    tensor([[0.7500, 0.2500]])
    """

    needs_classes = True

    EXCHANGES: ClassVar[dict[str, str]] = {
        "soft_labels": "density_labels",
        "logits": "density_logits",
    }
    per_sample = True
    sums_only = True

    def __init__(
        self,
        tau: float = 0.1,
        density: Literal["class_gaussian", "gaussian", "kernel"] = "class_gaussian",
        dim: int = 64,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if not tau > 0:
            raise ValueError(f"tau={tau} must be greater than 0")
        self.tau, self.density, self.dim = tau, density, dim

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with the kind of density."""
        own = {"density": self.density, "dim": self.dim, "power": 1 / self.tau}
        return {"name": self.exchange, **own}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the weighted mean ``[samples, classes]``."""
        assert knowledge.scores is not None
        weights = score_weights(knowledge.scores, 1 / self.tau)
        return weighted_mean(knowledge.values, weights).float()
