"""Clusters of vectors: k-means, and FINCH, which finds how many there are."""

import warnings

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def k_means(points: Tensor, count: int, starts: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the cluster of each point ``[n]`` int64 and the centres ``[count, d]`` float64.

    Parameters
    ----------
    points : Tensor
        ``[n, d]``, n at least `count`.
    count : int
        At least 1.
    starts : int
        How often to begin anew; the best counts.
    seed : int
        At least 0 and below 2^32.

    Examples
    --------
    >>> points = torch.tensor([[0.0], [9.0], [2.0]])
    >>> clusters, centres = k_means(points, 2, starts=2, seed=0)
    >>> bool(clusters[0] == clusters[2] != clusters[1]), sorted(centres.flatten().tolist())
    (True, [1.0, 9.0])
    """
    from sklearn.cluster import KMeans  # slow to import, and few need it
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    means = KMeans(count, n_init=starts, random_state=seed)
    # Several threads add up in the order in which they finish, and get in the way of other clients.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        clusters = means.fit_predict(points.double().numpy())
    return torch.from_numpy(clusters).long(), torch.from_numpy(means.cluster_centers_)


def finch(x: Tensor) -> Tensor:
    """Return each vector's cluster in FINCH's coarsest partition, ``[n]`` int64 from 0 on.

    Each vector is joined with its nearest other one, and what is connected is a cluster; then
    clusters are joined in the same way by their means, as long as more than one is left. Near is
    what has a large cosine. Source: Sarfraz, Sharma, Stiefelhagen, "Efficient Parameter-free
    Clustering Using First Neighbor Relations", CVPR 2019.

    Parameters
    ----------
    x : Tensor
        ``[n, dim]``, n at least 1.

    Examples
    --------
    >>> finch(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]))
    tensor([0, 0, 1, 1])
    >>> finch(torch.tensor([[1.0, 0.0]]))
    tensor([0])
    """
    found = _joined(x)
    while (clusters := int(found.max()) + 1) > 1:
        coarser = _joined(cluster_means(x, found))
        if not 1 < int(coarser.max()) + 1 < clusters:
            break
        found = coarser[found]
    return found


def cluster_means(x: Tensor, clusters: Tensor) -> Tensor:
    """Return the mean of each cluster's vectors, ``[clusters, dim]``.

    Examples
    --------
    >>> cluster_means(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
    tensor([[2.],
            [5.]])
    """
    shares = F.one_hot(clusters).to(x.dtype)
    return (shares / shares.sum(dim=0)).T @ x


def _joined(x: Tensor) -> Tensor:
    """Return the connected components of vectors and their nearest."""
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    n = len(x)
    if n == 1:
        return torch.zeros(1, dtype=torch.int64)
    unit = F.normalize(x.double(), dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(dim=1).numpy()
    edges = coo_array((np.ones(n), (np.arange(n), nearest)), shape=(n, n))
    return torch.from_numpy(connected_components(edges, directed=False)[1]).long()
