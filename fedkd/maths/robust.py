"""Pure robust statistics over clients, per transfer sample: trimming, medians, outlier scores.

Shapes: n clients, s samples, c classes. Everything is computed in float64 (a permutation of the
clients then changes a float32 result by no more than its last bits), and nothing is random.
"""

import torch
from torch import Tensor

SQUARINGS = 9
"""Squarings of the covariance: 2**9 = 512 steps of power iteration (the paper takes 400)."""

SLACK = 1e-9
"""Scores that differ by less than this share of the largest are tied."""

SAMPLES = 16
"""Samples looked at together where each is looked at on its own: what many clients say of them then
stays in the processor's cache."""

_TINY = 1e-300


def trimmed(values: Tensor, drop: int) -> Tensor:
    """Return the coordinate-wise mean without the `drop` smallest and largest values.

    ``drop = (n - 1) // 2`` is the median, of even n the mean of the two middle values.

    Parameters
    ----------
    values : Tensor
        ``[n, s, c]``.
    drop : int
        From 0 to ``(n - 1) // 2``.

    Returns
    -------
    Tensor
        ``[s, c]`` float64.

    Examples
    --------
    >>> trimmed(torch.tensor([[[0.0]], [[1.0]], [[2.0]], [[9.0]]]), 1)
    tensor([[1.5000]], dtype=torch.float64)
    """
    kept = slice(drop, len(values) - drop)
    parts = values.split(SAMPLES, dim=1)
    return torch.cat([part.sort(dim=0).values[kept].double().mean(dim=0) for part in parts])


def on_simplex(rows: Tensor, otherwise: Tensor) -> Tensor:
    """Scale non-negative rows to sum 1; a row without any mass becomes that of `otherwise`.

    Parameters
    ----------
    rows, otherwise : Tensor
        ``[s, c]``.

    Returns
    -------
    Tensor
        ``[s, c]`` float32.

    Examples
    --------
    >>> on_simplex(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([[0.2500, 0.7500],
            [0.5000, 0.5000]])
    """
    total = rows.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, rows / total.clamp(min=_TINY), otherwise).float()


def weiszfeld(values: Tensor, iterations: int = 100, smoothing: float = 1e-6) -> Tensor:
    """Return the geometric median over clients, by Weiszfeld's iteration from the mean.

    Formula::

        m <- sum_n y_n / d_n  /  sum_n 1 / d_n,     d_n = max(||y_n - m||, smoothing)

    Parameters
    ----------
    values : Tensor
        ``[n, s, c]``.
    iterations : int
        At least 0.
    smoothing : float
        Greater than 0; keeps the weight of a client finite that the median coincides with.

    Returns
    -------
    Tensor
        ``[s, c]`` float64, in the convex hull of the clients' values.

    Examples
    --------
    >>> weiszfeld(torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]]])).round(decimals=4)
    tensor([[0., 1.]], dtype=torch.float64)
    """
    middles = []
    for part in values.split(SAMPLES, dim=1):
        points = part.double()
        middle = points.mean(dim=0)
        for _ in range(iterations):
            weights = 1 / (points - middle).norm(dim=-1, keepdim=True).clamp(min=smoothing)
            middle = (weights * points).sum(dim=0) / weights.sum(dim=0)
        middles.append(middle)
    return torch.cat(middles)


def outlier_scores(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return how far out each client is in the direction in which clients differ most.

    Formula::

        score_n = |(y_n - mean) . v|,   v: top eigenvector of the clients' covariance [c, c]

    The eigenvector is found by power iteration from a fixed start (by squaring the matrix, which
    is cheaper). Where several directions are equally good, an eigendecomposition would choose by
    rounding; this takes the start's projection on them. A start of equal entries, as in the paper's
    code, would not do: soft labels never differ in that direction, so it would be all rounding.

    Parameters
    ----------
    values : Tensor
        ``[n, s, c]``.
    weights : Tensor, optional
        ``[n, s]`` weights of the clients in mean and covariance, as from `keep_smallest`.

    Returns
    -------
    Tensor
        ``[n, s]`` float64, at least 0.

    Examples
    --------
    >>> outlier_scores(torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]]])).T
    tensor([[0.4714, 0.4714, 0.9428]], dtype=torch.float64)
    """
    values = values.double()
    weights = torch.ones_like(values[..., 0]) if weights is None else weights
    centred = (values - weighted_mean(values, weights)).transpose(0, 1)  # [s, n, c]
    power = _unit((centred * weights.T.unsqueeze(-1)).mT @ centred)
    for _ in range(SQUARINGS):
        power = _unit(power @ power)
    start = torch.arange(1, values.shape[-1] + 1, dtype=torch.float64).sqrt().unsqueeze(-1)
    return (centred @ _unit(power @ start)).squeeze(-1).abs().T


def keep_smallest(scores: Tensor, count: int, weights: Tensor | None = None) -> Tensor:
    """Return the weights of each sample's `count` clients with the smallest scores.

    Where the last of them are tied with others, these share the places that are left, so that
    nothing depends on the order of the clients. Hostile clients that all say the same are tied:
    keeping them all would undo the filter.

    Parameters
    ----------
    scores : Tensor
        ``[n, s]`` float64, at least 0.
    count : int
        From 1 to the sum of the weights.
    weights : Tensor, optional
        ``[n, s]`` weights in [0, 1] that an earlier step left; all 1 by default.

    Returns
    -------
    Tensor
        ``[n, s]`` float64 in [0, 1]; each sample's sum to `count`.

    Examples
    --------
    >>> keep_smallest(torch.tensor([[3.0], [1.0], [2.0], [2.0]]), 2).T
    tensor([[0.0000, 1.0000, 0.5000, 0.5000]], dtype=torch.float64)
    """
    weights = torch.ones_like(scores, dtype=torch.float64) if weights is None else weights
    ranked = scores.sort(dim=0)
    rises = ranked.values.diff(dim=0) > SLACK * ranked.values[-1]
    tie = torch.nn.functional.pad(rises, (0, 0, 1, 0)).cumsum(dim=0)  # which ties, by rank
    mine = weights.gather(0, ranked.indices)
    mass = torch.zeros_like(weights).scatter_add(0, tie, mine)
    places = count - (mass.cumsum(dim=0) - mass)
    share = (places / mass.clamp(min=_TINY)).clamp(0, 1)
    return torch.zeros_like(weights).scatter(0, ranked.indices, mine * share.gather(0, tie))


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over clients, ``[s, c]`` float64.

    Parameters
    ----------
    values : Tensor
        ``[n, s, c]``.
    weights : Tensor
        ``[n, s]`` float64, at least 0, not all 0 for any sample.

    Examples
    --------
    >>> weighted_mean(torch.tensor([[[1.0]], [[3.0]]]), torch.tensor([[1.0], [3.0]]).double())
    tensor([[2.5000]], dtype=torch.float64)
    """
    weights = weights.unsqueeze(-1)
    return (weights * values.double()).sum(dim=0) / weights.sum(dim=0)


def _unit(matrix: Tensor) -> Tensor:
    """Scale matrices ``[s, k, l]`` to Frobenius norm 1; a zero matrix stays what it is."""
    return matrix / matrix.flatten(1).norm(dim=-1).clamp(min=_TINY).view(-1, 1, 1)
