"""BADGE: a diverse batch of samples that would change the model much.

As in the public code of LoGo (Kim et al., CVPR 2023). Confidence: certain. With p = softmax(z) and
features h before the last layer, k-means++ picks among gradients of the last layer, had the
prediction been the label::

    g_x = (p - onehot(argmax p)) (x) h                classes * dim numbers, never built
    first pick    argmax |g_x|
    next picks    drawn with probability ~ min over the picks s of || g_x - g_s ||^2

For selector=both the gradients of the two models are concatenated, so squared distances add up (a
choice made here).
"""

from torch import Tensor

from ...maths.picking import gradient_seeds, residuals
from .base import Pool, Sampler, Selector, models_of


class BADGE(Sampler):
    """Large and different gradients first.

    Parameters
    ----------
    selector : {"global", "local", "both"}
        Which model's gradients; "both" concatenates them.

    Examples
    --------
    >>> import torch
    >>> x, g = torch.tensor([[5.0, 1.0], [1.0, 1.0], [9.0, 0.0]]), torch.Generator()
    >>> labelled = torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)
    >>> pool = Pool(x, *labelled, torch.zeros(2), lambda w, x: x, lambda w, x: 1 + 0 * x, g)
    >>> BADGE().pick(pool, 1)
    tensor([1])
    """

    def __init__(self, *, selector: Selector = "global") -> None:
        self.models = models_of(selector)

    def choose(self, pool: Pool, budget: int) -> Tensor:
        """Return k-means++ picks."""
        gradients = [(residuals(pool.logits(m)), pool.features(m)) for m in self.models]
        return gradient_seeds(gradients, budget, pool.generator)
