"""Core-set: cover the pool, each sample near a labelled one (greedy k-centre).

As in the public code of LoGo (Kim et al., CVPR 2023). Confidence: certain for the greedy rule. With
features h before a model's last layer, L the labelled samples and A those already picked::

    repeat  argmax_x  min_{s in L + A} || h(x) - h(s) ||_2

Without labelled samples the first pick is random. For selector=both the features of the two models
are concatenated, so squared distances add up; LoGo's code averages them, which takes models of one
width.
"""

import torch
from torch import Tensor

from ...maths.picking import k_centre
from .base import Part, Pool, Sampler, Selector, models_of


class Coreset(Sampler):
    """Farthest from all that is labelled or picked first.

    Parameters
    ----------
    selector : {"global", "local", "both"}
        Which model's features; "both" concatenates them.

    Examples
    --------
    >>> x, g = torch.tensor([[0.0], [4.0], [9.0], [10.0]]), torch.Generator()
    >>> labelled = torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64)
    >>> pool = Pool(x, *labelled, torch.tensor([1, 0]), None, lambda which, x: x, g)
    >>> Coreset().pick(pool, 2)
    tensor([3, 1])
    """

    def __init__(self, *, selector: Selector = "global") -> None:
        self.models = models_of(selector)

    def choose(self, pool: Pool, budget: int) -> Tensor:
        """Return greedy k-centre picks."""
        features = self._features(pool, "unlabelled")
        empty = not len(pool.labelled_x)  # not every model takes an empty batch
        centres = features[:0] if empty else self._features(pool, "labelled")
        return k_centre(features, centres, budget, pool.generator)

    def _features(self, pool: Pool, part: Part) -> Tensor:
        return torch.cat([pool.features(model, part) for model in self.models], dim=1)
