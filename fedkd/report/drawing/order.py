"""The order in which pictures have clients: those with alike labels side by side."""

import numpy as np

EXACT = 400
"""Different clients up to which neighbours are as alike as can be: beyond, that takes seconds."""

MOST = 3_000
"""Different clients whose distances are computed: memory grows with their square."""


def seriated(histogram: np.ndarray) -> np.ndarray:
    """Return the rows of a histogram in an order in which neighbours are alike.

    Hierarchical clustering (average linkage) of Hellinger distances between the rows' shares; its
    leaves are turned so that the sum of distances between neighbours is least (Bar-Joseph et al.,
    2001). Low classes come first, equal rows in their own order.

    Parameters
    ----------
    histogram : array ``[clients, classes]``
        Sample counts, not negative.

    Returns
    -------
    array ``[clients]``
        Row numbers.

    Examples
    --------
    >>> seriated(np.array([[0, 9], [9, 0], [0, 5], [4, 4]])).tolist()
    [1, 3, 0, 2]
    """
    counts = np.asarray(histogram, np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows, which = np.unique(shares, axis=0, return_inverse=True)
    rank = np.empty(len(rows), int)
    rank[_leaves(rows)] = np.arange(len(rows))
    return np.lexsort((np.arange(len(counts)), rank[which.reshape(-1)]))


def _leaves(shares: np.ndarray) -> np.ndarray:
    """Return different rows in order; those of the least classes first."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import pdist

    middle = shares @ np.arange(shares.shape[1])
    if len(shares) < 2 or len(shares) > MOST:
        return np.lexsort((middle, shares.argmax(axis=1)))
    distances = pdist(np.sqrt(shares))
    tree = linkage(distances, "average")
    if len(shares) <= EXACT:
        tree = optimal_leaf_ordering(tree, distances)
    order = leaves_list(tree)
    return order if middle[order[0]] <= middle[order[-1]] else order[::-1]
