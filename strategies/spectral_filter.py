"""Spectral filter ("Filter"): per sample, drop the clients that stick out, average the rest.

Diakonikolas et al., "Being Robust (in High Dimensions) Can Be Practical", ICML 2017; on predictions
in Roux, Zimmer, Pokutta, "On the Byzantine-Resilience of Distillation-Based Federated Learning",
ICLR 2025, arXiv 2402.12265.

Confidence: certain (the second paper's code). Per sample::

    score_n = |(F_n - mean) . v|        v: top eigenvector of the clients' covariance [c, c]
    teacher = mean of F_n over the clients with score_n <= limit

where ``limit`` is a quantile of the scores (the next higher score if it falls between two), or an
absolute threshold; a sample with nobody below the threshold gets the plain mean. Which quantile the
paper uses is not publicly confirmed: 0.5, the safe choice for any hostile minority, is ours. So is
that clients tied at a quantile share the last places, as in `cronus`; the code keeps them all.
"""

import math

from torch import Tensor

from ..knowledge import KnowledgeStack
from ..maths.robust import keep_smallest, on_simplex, outlier_scores, weighted_mean
from .base import FusionStrategy


class SpectralFilter(FusionStrategy):
    """Mean of the clients whose outlier score is small.

    Parameters
    ----------
    quantile : float
        Quantile of the scores up to which clients are kept, in [0, 1]; 1 is the plain mean.
    threshold : float or None
        Largest score that is kept, at least 0; replaces `quantile`. Scores are at most sqrt(2).
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> labels = torch.tensor([[[0.8, 0.2]], [[0.6, 0.4]], [[0.0, 1.0]]])
    >>> stack = KnowledgeStack("soft_labels", labels, [0, 1, 2], torch.arange(1))
    >>> SpectralFilter(quantile=0.5).fuse(stack)
    tensor([[0.7000, 0.3000]])
    """

    per_sample = True

    def __init__(
        self, quantile: float = 0.5, threshold: float | None = None, **base: float | None
    ) -> None:
        super().__init__(**base)
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile={quantile} must be in [0, 1]")
        if threshold is not None and not threshold >= 0:
            raise ValueError(f"threshold={threshold} must be at least 0")
        self.quantile, self.threshold = quantile, threshold

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the quantile, where a threshold replaces it."""
        found = super().unused(kind)
        if self.threshold is not None:
            found["quantile"] = "has no effect beside strategy.threshold; leave one out"
        return found

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean of the kept clients ``[samples, classes]``."""
        values = knowledge.soft_labels
        scores = outlier_scores(values)
        if self.threshold is None:
            count = math.ceil(self.quantile * (len(values) - 1) - 1e-9) + 1
            kept = keep_smallest(scores, count)
        else:
            kept = scores <= self.threshold
            kept = (kept | ~kept.any(dim=0)).double()
        return on_simplex(weighted_mean(values, kept), values.mean(dim=0))
