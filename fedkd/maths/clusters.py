"""k-means, the same for any number of threads."""

import warnings

import torch
from torch import Tensor


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
