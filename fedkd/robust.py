"""Pure robust statistics over clients, per transfer sample: trimming, medians, outlier scores.

Shapes: n clients, s samples, c classes. Everything is computed in float64 (a permutation of the
clients then changes a float32 result by no more than its last bits), and nothing is random.
"""

import torch
from torch import Tensor

SQUARINGS = 9
"""Squarings of the covariance: 2**9 = 512 steps of power iteration (the paper takes 400)."""

SLACK = 1e-9
"""Scores that differ by less than this share of the largest are tied; ties stay or go together."""

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
    return values.double().sort(dim=0).values[drop : len(values) - drop].mean(dim=0)


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
    values = values.double()
    middle = values.mean(dim=0)
    for _ in range(iterations):
        weights = 1 / (values - middle).norm(dim=-1, keepdim=True).clamp(min=smoothing)
        middle = (weights * values).sum(dim=0) / weights.sum(dim=0)
    return middle


def outlier_scores(values: Tensor, kept: Tensor | None = None) -> Tensor:
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
    kept : Tensor, optional
        ``[n, s]`` bool, at least one client per sample: mean and covariance are of these clients
        only, and the others score infinity.

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
    inside = torch.ones_like(values[..., 0], dtype=torch.bool) if kept is None else kept
    centred = (values - masked_mean(values, inside)).transpose(0, 1)  # [s, n, c]
    rows = centred * inside.T.unsqueeze(-1)
    power = _unit(rows.mT @ rows)
    for _ in range(SQUARINGS):
        power = _unit(power @ power)
    start = torch.arange(1, values.shape[-1] + 1, dtype=torch.float64).sqrt().unsqueeze(-1)
    scores = (centred @ _unit(power @ start)).squeeze(-1).abs().T
    return scores.masked_fill(~inside, torch.inf)


def keep_smallest(scores: Tensor, count: int) -> Tensor:
    """Return a mask of each sample's `count` smallest scores, and of those tied with the last.

    Parameters
    ----------
    scores : Tensor
        ``[n, s]``, at least 0; infinite ones are kept only if fewer than `count` are finite.
    count : int
        From 1 to n.

    Returns
    -------
    Tensor
        ``[n, s]`` bool.

    Examples
    --------
    >>> keep_smallest(torch.tensor([[1.0], [3.0], [1.0], [2.0]]), 1).T
    tensor([[ True, False,  True, False]])
    """
    limit = scores.sort(dim=0).values[count - 1]
    largest = scores.masked_fill(scores.isinf(), 0).amax(dim=0)
    return scores <= limit + SLACK * largest


def masked_mean(values: Tensor, kept: Tensor) -> Tensor:
    """Return the mean over each sample's kept clients, ``[s, c]`` float64.

    Parameters
    ----------
    values : Tensor
        ``[n, s, c]``.
    kept : Tensor
        ``[n, s]`` bool, at least one client per sample.

    Examples
    --------
    >>> masked_mean(torch.tensor([[[1.0]], [[3.0]], [[9.0]]]), torch.tensor([[1], [1], [0]]) > 0)
    tensor([[2.]], dtype=torch.float64)
    """
    weights = kept.double().unsqueeze(-1)
    return (values.double() * weights).sum(dim=0) / weights.sum(dim=0)


def _unit(matrix: Tensor) -> Tensor:
    """Scale matrices ``[s, k, l]`` to Frobenius norm 1; a zero matrix stays what it is."""
    return matrix / matrix.flatten(1).norm(dim=-1).clamp(min=_TINY).view(-1, 1, 1)
