"""Pure tensor maths of active learning: how much a label is wanted.

Shapes: n unlabelled samples, c classes. Randomness comes from the generator that is given, and only
breaks ties.

Source of the formulas: Cao et al., "Knowledge-Aware Federated Active Learning with Non-IID Data",
ICCV 2023, arXiv 2211.13579, for `discrepancy`; the public code of LoGo (Kim et al., CVPR 2023) for
the others.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .mixing import entropy

__all__ = [
    "RANK_OFFSET",
    "discrepancy",
    "entropy",
    "least_confidence",
    "margin",
    "rank_fusion",
    "ranking",
]

RANK_OFFSET = 20
"""Added to ranks in `rank_fusion`: the larger, the less the very first ranks count."""


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
    >>> f, g = torch.tensor([[3.0, 1.0]]).log(), torch.zeros(1, 2)
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
