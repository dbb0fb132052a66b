"""Greedy choices of active learning: samples that differ from those picked before.

Shapes: n unlabelled samples, m labelled ones, c classes, d features. Everything is computed in
float64. Randomness comes from the generator that is given, and only breaks ties or draws seeds.

Source of the formulas: the public code of LoGo (Kim et al., CVPR 2023).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .acquisition import ranking

_BLOCK = 2_000_000  # float64 elements of a block of distances
_ROUNDING = 1e-12  # share of the norms below which a factored squared distance is taken for 0


def k_centre(features: Tensor, centres: Tensor, picks: int, generator: torch.Generator) -> Tensor:
    """Pick greedily what is farthest from all centres, and make it a centre.

    Parameters
    ----------
    features : Tensor
        ``[n, d]`` to pick from.
    centres : Tensor
        ``[m, d]`` to start with. Without any, the first pick is random.
    picks : int
        At most n.
    generator : torch.Generator
        Breaks ties.

    Returns
    -------
    Tensor
        ``[picks]`` distinct positions in the order of picking.

    Examples
    --------
    >>> line = torch.tensor([[0.0], [4.0], [9.0], [10.0]])
    >>> k_centre(line, torch.tensor([[0.0]]), 2, torch.Generator())
    tensor([3, 1])
    """
    order = torch.randperm(len(features), generator=generator)  # argmax takes the first of equals
    points = features.double()[order]
    nearest = _nearest(points, centres.double())
    picked = []
    for _ in range(picks):
        row = int(nearest.argmax())
        picked.append(row)
        nearest = torch.minimum(nearest, (points - points[row]).square().sum(dim=1))
        nearest[row] = -1.0  # below any distance: never picked again
    return order[torch.tensor(picked, dtype=torch.int64)]


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Return squared distances to the nearest centre ``[n]``, infinite without centres."""
    if not len(centres):
        return points.new_full((len(points),), math.inf)
    exact = "donot_use_mm_for_euclid_dist"  # the other way cancels badly for close points
    blocks = points.split(max(1, _BLOCK // len(centres)))
    return torch.cat([torch.cdist(b, centres, compute_mode=exact).amin(1) for b in blocks]).square()


def residuals(logits: Tensor) -> Tensor:
    """Return ``softmax(z) - onehot(argmax z)``, ``[n, c]`` float64.

    It is the gradient of cross-entropy with respect to the logits, for the predicted class as the
    label.

    Examples
    --------
    >>> residuals(torch.tensor([[math.log(3.0), 0.0]]))
    tensor([[-0.2500,  0.2500]], dtype=torch.float64)
    """
    p = logits.double().softmax(dim=-1)
    best = p.argmax(dim=-1, keepdim=True)
    return p.scatter_add(-1, best, p.new_full(best.shape, -1.0))


def gradient_seeds(
    gradients: Sequence[tuple[Tensor, Tensor]], picks: int, generator: torch.Generator
) -> Tensor:
    """Pick by k-means++ among gradients ``r (x) h`` that are never built.

    The first pick has the largest norm; each other is drawn with a probability proportional to the
    squared distance to the nearest pick. Squared distances come from the factors::

        || a (x) h - b (x) k ||^2 = |a|^2 |h|^2 + |b|^2 |k|^2 - 2 (a . b) (h . k)

    Parameters
    ----------
    gradients : sequence of (Tensor, Tensor)
        Factors ``r`` ``[n, c]`` and ``h`` ``[n, d]``, one pair a model. With several models their
        gradients are concatenated, so squared distances add up.
    picks : int
        At most n.
    generator : torch.Generator
        Draws, and breaks ties of the first.

    Returns
    -------
    Tensor
        ``[picks]`` distinct positions in the order of picking. Once nothing is left that differs
        from the picks, it is random among the rest.

    Examples
    --------
    >>> r, h = torch.tensor([[1.0], [1.0], [-1.0]]), torch.tensor([[1.0], [1.0], [2.0]])
    >>> sorted(gradient_seeds([(r, h)], 2, torch.Generator()).tolist())[1]
    2
    """
    factors = [(r.double(), h.double()) for r, h in gradients]
    norms = torch.stack([r.square().sum(1) * h.square().sum(1) for r, h in factors]).sum(dim=0)
    left = torch.ones(len(norms), dtype=torch.float64)  # 0 for what is picked
    nearest = norms.new_full(norms.shape, math.inf)
    row, picked = int(ranking(norms, generator)[0]) if picks else -1, list[int]()
    while len(picked) < picks:
        if picked:
            chances = nearest if bool((nearest > 0).any()) else left
            row = int(torch.multinomial(chances, 1, generator=generator))
        picked.append(row)
        nearest = torch.minimum(nearest, squares_from(factors, norms, row))
        nearest[row] = left[row] = 0.0
    return torch.tensor(picked, dtype=torch.int64)


def squares_from(factors: Sequence[tuple[Tensor, Tensor]], norms: Tensor, row: int) -> Tensor:
    """Return the squared distances of all gradients to that of a row, ``[n]``."""
    products = torch.stack([(r @ r[row]) * (h @ h[row]) for r, h in factors]).sum(dim=0)
    scale = norms + norms[row]
    distances = scale - 2 * products
    return torch.where(distances > _ROUNDING * scale, distances, 0.0)
