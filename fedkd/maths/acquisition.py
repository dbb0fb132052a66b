"""Pure tensor maths of active learning: how much a label is wanted, and greedy choices.

Shapes: n unlabelled samples, m labelled ones, c classes, d features. Everything is computed in
float64. Randomness comes from the generator that is given, and only breaks ties or draws seeds.

Source of the formulas: Cao et al., "Knowledge-Aware Federated Active Learning with Non-IID Data",
ICCV 2023, arXiv 2211.13579, for `discrepancy`; the public code of LoGo (Kim et al., CVPR 2023) for
the others.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .mixing import entropy

__all__ = [
    "RANK_OFFSET",
    "discrepancy",
    "entropy",
    "gradient_seeds",
    "k_centre",
    "least_confidence",
    "margin",
    "rank_fusion",
    "ranking",
    "residuals",
]

RANK_OFFSET = 20
"""Added to ranks in `rank_fusion`: the larger, the less the very first ranks count."""

_BLOCK = 2_000_000  # float64 elements of a block of distances
_ROUNDING = 1e-12  # share of the norms below which a factored squared distance is taken for 0


def least_confidence(p: Tensor) -> Tensor:
    """Return ``1 - max p`` of probabilities ``[n, c]``.

    Examples
    --------
    >>> least_confidence(torch.tensor([[0.75, 0.25, 0.0]]))
    tensor([0.2500])
    """
    return 1 - p.amax(dim=-1)


def margin(p: Tensor) -> Tensor:
    """Return by how much the likeliest class of ``[n, c]`` leads; a small lead is uncertain.

    Examples
    --------
    >>> margin(torch.tensor([[0.75, 0.25, 0.0]]))
    tensor([0.5000])
    """
    first, second = p.topk(2, dim=-1).values.unbind(dim=-1)
    return first - second


def discrepancy(
    local: Tensor, other: Tensor, counts: Tensor, tau: float = 1.0, prior_eps: float = 0.0
) -> Tensor:
    """Return half the symmetric KL divergence of class-specialised posteriors, sample by sample.

    With logits f (local) and g (other) and n labelled samples of each class::

        prior = tau * log(n + prior_eps)         -inf where that is log 0
        P = softmax(f + prior),  Q = softmax(g + prior)
        D = 1/2 * (KL(P || Q) + KL(Q || P)) = 1/2 * sum_y (P_y - Q_y) (f_y - g_y)

    The right-hand side holds because the prior cancels in ``log(P / Q)`` and ``P - Q`` sums to 0.
    Unlike the left one it is finite where a class has no labels: such a class contributes 0.

    Parameters
    ----------
    local, other : Tensor
        ``[n, c]`` finite logits.
    counts : Tensor
        ``[c]``, at least 0.
    tau : float
        At least 0. Without a prior (0) all classes contribute, also those without labels: n^0 = 1.
    prior_eps : float
        At least 0. Above 0, classes without labels contribute too.

    Returns
    -------
    Tensor
        ``[n]`` float64, at least 0; all 0 if fewer than two classes contribute.

    Examples
    --------
    >>> f, g = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    >>> discrepancy(f, g, torch.tensor([4, 4])), discrepancy(f, g, torch.tensor([4, 0]))
    (tensor([0.1373], dtype=torch.float64), tensor([0.], dtype=torch.float64))
    """
    f, g = local.double(), other.double()
    known = counts.double() + prior_eps
    prior = tau * known.log() if tau else torch.zeros_like(known)
    if bool(prior.isneginf().all()):  # no labels at all: softmax would be 0 / 0
        return f.new_zeros(len(f))
    gap = (f + prior).softmax(dim=-1) - (g + prior).softmax(dim=-1)
    return (gap * (f - g)).sum(dim=-1).clamp_min(0) / 2


def ranking(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Return positions by descending score; equal scores are in random order.

    Parameters
    ----------
    scores : Tensor
        ``[n]``.
    generator : torch.Generator
        Shuffles before the stable sort.

    Raises
    ------
    ValueError
        If a score is NaN: sorting would put it somewhere.

    Examples
    --------
    >>> ranking(torch.tensor([0.1, 0.9, 0.5]), torch.Generator())
    tensor([1, 2, 0])
    """
    if bool(scores.isnan().any()):
        raise ValueError(f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN")
    order = torch.randperm(len(scores), generator=generator)
    return order[scores[order].sort(descending=True, stable=True).indices]


def rank_fusion(scores: Sequence[Tensor], top: int | None = None) -> Tensor:
    """Return ``sum_k 1 / (20 + rank_k)``, rank 0 for a list's largest score.

    Only the order within each list matters, so lists on different scales count alike. Confidence:
    certain (LoGo's public code), but for equal scores, which share the best of their ranks here;
    there, sorting decides.

    Parameters
    ----------
    scores : sequence of Tensor
        Each ``[n]``, higher = more wanted, without NaN.
    top : int, optional
        How many of each list count: what comes after them adds nothing. None = all.

    Examples
    --------
    >>> lists = [torch.tensor([5.0, 7.0]), torch.tensor([0.1, 0.2])]
    >>> rank_fusion(lists) * 20, rank_fusion(lists, top=1) * 20
    (tensor([1.9048, 2.0000], dtype=torch.float64), tensor([0., 2.], dtype=torch.float64))
    """
    ranks = torch.stack([_ranks(each) for each in scores])
    counts = ranks < (ranks.shape[1] if top is None else top)
    return (counts / (RANK_OFFSET + ranks)).sum(dim=0)


def _ranks(scores: Tensor) -> Tensor:
    """Return how many scores are larger, ``[n]`` float64."""
    return torch.searchsorted(scores.neg().sort().values, scores.neg()).double()


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
