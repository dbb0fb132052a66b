"""COMET: clients are clustered anew for every transfer sample; each learns from its cluster.

Cho, Wang, Chiruvolu, Joshi, "Communication-Efficient and Model-Heterogeneous Personalized Federated
Learning via Clustered Knowledge Transfer", IEEE JSTSP 2023 (COMET; first version: arXiv
2109.08119). Confidence: certain for a re-implementation (the SCARLET authors' reproducibility
branch), inferred for the original, which clusters the clients once a round::

    centroids(x)  = k-means of the N rows p_1(x) ... p_N(x)       k = 2
    teacher_n(x)  = the centroid nearest to p_n(x), in L2

Deviations. The client's loss there is ``CE private + lambda * KL(centroid || p_n)``; here the
two phases follow each other, and the distillation's epochs and learning rate take the place of
lambda. Only the nearest centroid is sent: all k of them would tell a client what other clients
think. The server has no model of its own. And k-means is Lloyd's iteration on all samples at once,
from a start without randomness (the row farthest from the mean, then always the one farthest from
those chosen): scikit-learn's `KMeans` solves one problem a call, a third of a second for a block of
256 samples of ten clients where this takes milliseconds, and depends on a seed.
"""

from typing import Any

import torch
from torch import Tensor

from ..knowledge import KnowledgeStack
from .mixtures import MixingFusion

LIMIT = 100
"""Lloyd's iterations at most; a handful is usual."""


class COMET(MixingFusion):
    """Per sample, the mean of the clients that see it alike.

    Parameters
    ----------
    clusters : int
        k, >= 1: 1 is the plain mean; with as many as clients, each learns from itself.
    **base
        See `MixingFusion`; logits are averaged over the clusters of their soft labels.

    Examples
    --------
    >>> labels = torch.tensor([[[1.0, 0.0]], [[0.8, 0.2]], [[0.1, 0.9]]])
    >>> COMET().fuse(KnowledgeStack("soft_labels", labels, [0, 1, 2], torch.arange(1)))
    tensor([[[0.9000, 0.1000]],
    <BLANKLINE>
            [[0.9000, 0.1000]],
    <BLANKLINE>
            [[0.1000, 0.9000]]])
    """

    per_sample = True
    personalised = True

    def __init__(self, clusters: int = 2, **base: Any) -> None:
        super().__init__(**base)
        if clusters < 1:
            raise ValueError(f"clusters={clusters} must be at least 1")
        self.clusters = clusters

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the teachers ``[clients, samples, classes]``."""
        return own_centroids(knowledge.soft_labels, self.clusters, knowledge.values)


def own_centroids(points: Tensor, clusters: int, values: Tensor | None = None) -> Tensor:
    """Return for each row the mean of its cluster, by k-means for every sample on its own.

    Parameters
    ----------
    points : Tensor
        ``[n, samples, classes]``.
    clusters : int
        k; more than n counts as n.
    values : Tensor, optional
        ``[n, samples, classes]``, what the means are of; None = the points, so the centroids.

    Returns
    -------
    Tensor
        ``[n, samples, classes]``.
    """
    centroids = first_centroids(points, min(clusters, len(points)))
    own = _distances(points, centroids).argmin(dim=0)
    active = torch.arange(points.shape[1])  # samples whose clusters may still change
    for _ in range(LIMIT):
        part, place = points[:, active], own[:, active]
        centroids[:, active] = _means(part, place, centroids[:, active])
        own[:, active] = _distances(part, centroids[:, active]).argmin(dim=0)
        active = active[(own[:, active] != place).any(dim=0)]
        if not len(active):
            break
    if values is not None and values is not points:
        centroids = _means(values, own, centroids)
    return centroids.gather(0, own.unsqueeze(-1).expand_as(points))


def first_centroids(points: Tensor, clusters: int) -> Tensor:
    """Return rows that lie far apart, ``[clusters, samples, classes]``; of equal ones the first."""
    far = (points - points.mean(dim=0)).norm(dim=-1)
    chosen: list[Tensor] = []
    for _ in range(clusters):
        place = far.argmax(dim=0)
        chosen.append(points.gather(0, place[None, :, None].expand(1, *points.shape[1:]))[0])
        far = _distances(points, torch.stack(chosen)).amin(dim=0)
    return torch.stack(chosen)


def _means(points: Tensor, own: Tensor, centroids: Tensor) -> Tensor:
    """Return the mean of each cluster's rows; an empty cluster keeps its centroid."""
    renewed = []
    for k, centroid in enumerate(centroids):
        members = (own == k).unsqueeze(-1)
        count = members.sum(dim=0)
        mean = (points * members).sum(dim=0) / count.clamp_min(1)
        renewed.append(torch.where(count > 0, mean, centroid))
    return torch.stack(renewed)


def _distances(points: Tensor, centroids: Tensor) -> Tensor:
    """Return ``[clusters, n, samples]``."""
    return torch.stack([(points - centroid).norm(dim=-1) for centroid in centroids])
