"""Draws of sample indices that respect the classes; every draw returns sorted indices."""

import numpy as np
from numpy.typing import NDArray


def proportional(labels: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Draw a subset with the class shares of the whole (stratified, each within one sample).

    Parameters
    ----------
    labels : ndarray of int, shape [samples]
        Class of each sample.
    size : int
        How many to draw, at most ``len(labels)``.
    seed : int
        Seed of the draw.

    Returns
    -------
    ndarray of int64, shape [size]
        Distinct indices, ascending.

    Examples
    --------
    >>> labels = np.repeat([0, 1], [60, 30])
    >>> np.bincount(labels[proportional(labels, 30, seed=0)]).tolist()
    [20, 10]
    """
    rng = np.random.default_rng(seed)
    # Even steps through the samples sorted by class hit each class in proportion to its size.
    by_class = np.lexsort((rng.random(len(labels)), labels))
    steps = (np.arange(size) + rng.random()) * len(labels) / max(size, 1)
    picks = np.minimum(steps.astype(np.int64), len(labels) - 1)
    return np.sort(by_class[picks])


def balanced(labels: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Draw a subset with equally many samples of each class, as far as each class has them.

    Parameters
    ----------
    labels : ndarray of int, shape [samples]
        Class of each sample.
    size : int
        How many to draw, at most ``len(labels)``.
    seed : int
        Seed of the draw.

    Returns
    -------
    ndarray of int64, shape [size]
        Distinct indices, ascending.

    Examples
    --------
    >>> labels = np.repeat([0, 1, 2], [50, 30, 2])
    >>> np.bincount(labels[balanced(labels, 12, seed=0)]).tolist()
    [5, 5, 2]
    """
    rng = np.random.default_rng(seed)
    by_class = np.lexsort((rng.random(len(labels)), labels))
    _, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(starts, counts)
    # First of every class, then second of every class, ...; ties are broken at random.
    order = by_class[np.lexsort((rng.random(len(labels)), rank))]
    return np.sort(order[:size])
