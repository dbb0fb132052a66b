"""Soft labels of those samples only that are near the centres of a client's private data."""

import torch
from torch import Tensor

from ...maths.clusters import k_means
from .scoring import seed_from
from .selected_labels import OwnChoice

SHARE = 4
"""Private samples for each centre at least: with one each, none would be away from its own."""

STARTS = 1
"""How often k-means begins; scikit-learn's choice of first centres is a good one."""


class ClusteredLabels(OwnChoice):
    """Uploads soft labels of samples no further from a centre than most private ones are.

    Parameters
    ----------
    quantile : float
        Share of the private samples that are near enough themselves, in [0, 1].
    centroids : int
        k, at least 1; fewer where a client has fewer than 4 k samples.
    """

    def __init__(self, quantile: float = 0.75, centroids: int = 10) -> None:
        super().__init__(quantile)
        if centroids < 1:
            raise ValueError(f"centroids={centroids} must be at least 1")
        self.centroids = centroids

    def reckons(self) -> str | None:
        """Say what is done with samples beside giving them to models."""
        return "compares private and public samples by their distance"

    def kept(self, public: Tensor, private: Tensor, generator: torch.Generator) -> Tensor:
        """Compare distances to the nearest centre, k-means being seeded by `generator`."""
        public, private = public.flatten(1).double(), private.flatten(1).double()
        count = min(self.centroids, max(1, len(private) // SHARE))
        _, centres = k_means(private, count, STARTS, seed_from(generator) % 2**32)
        own, there = nearest(private, centres), nearest(public, centres)
        return there <= own.quantile(self.quantile)


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Return the distance of each point from the nearest centre, ``[n]``.

    Equal points have equal distances to the last bit, whichever others there are.

    Examples
    --------
    >>> nearest(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0], [5.0, 0.0]]))
    tensor([1.])
    """
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(points, centres, compute_mode=exact).amin(dim=1)
