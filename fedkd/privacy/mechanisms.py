"""Releases of knowledge on samples, with noise in units of how much the knowledge may change.

**Neighbouring relation**: any change of *everything* that the client holds (client level). The
model may then be any other, so each of the U rows of a release may become any other row. With L2
norms (L1 in brackets) the sensitivity of a release is::

    soft labels             sqrt(2 U)     (2 U)        two rows of the simplex differ by sqrt(2) (2)
    clipped to c            2 c sqrt(U)   (2 c U)      where that is less; logits are always clipped

Predictions of a regression are clipped as logits are, around the mean of the training targets and
in units of their standard deviation; those two numbers count as public.

Noise has the standard deviation (scale) ``noise_multiplier * sensitivity``. So a release costs the
same whatever U is, and fewer rows have less noise each: to ask for a subset of the transfer set
only makes U smaller. It is no amplification by sampling, as no private record is sampled.

What happens to a release afterwards (projection onto the simplex, rounding) costs nothing.
"""

from typing import Literal

import torch
from torch import Tensor

from ..knowledge import kind_named
from .noise import Source, laplace, normal

Norm = Literal[1, 2]
Repair = Literal["project", "renormalise"]

WIDEST = {1: 2.0, 2: 2.0**0.5}
"""How far two rows of the simplex can be apart, by norm."""


def clipped(values: Tensor, bound: float, norm: Norm = 2) -> Tensor:
    """Scale rows ``[rows, classes]`` down to a norm of at most `bound`, > 0.

    Examples
    --------
    >>> clipped(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    norms = torch.linalg.vector_norm(values, ord=norm, dim=-1, keepdim=True)
    return values * (bound / norms.clamp_min(bound))


def sensitivity(kind: str, rows: int, clip: float | None, norm: Norm = 2) -> float:
    """Return how much a release may change when everything that a client holds does.

    Parameters
    ----------
    kind : {"soft_labels", "logits", "predictions"}
        What is released.
    rows : int
        Samples that it is about.
    clip : float or None
        Bound on each row's norm (soft labels: on its difference from the uniform row).
    norm : {1, 2}
        Of the release as one vector.

    Examples
    --------
    >>> round(sensitivity("soft_labels", 50, None), 9), sensitivity("logits", 4, 3.0)
    (10.0, 12.0)
    """
    each = float("inf") if clip is None else 2 * clip
    if kind_named(kind).simplex:
        each = min(each, WIDEST[norm])
    return each * (rows if norm == 1 else rows**0.5)


def noisy(
    values: Tensor,
    kind: str,
    multiplier: float,
    clip: float | None,
    norm: Norm,
    source: Source,
    repair: Repair = "project",
) -> Tensor:
    """Return a release of knowledge: clipped, with noise, soft labels put back on the simplex.

    Parameters
    ----------
    values : Tensor
        ``[rows, classes]``.
    kind, clip, norm
        See `sensitivity`; norm 2 means Gaussian noise, norm 1 Laplace noise.
    multiplier : float
        Standard deviation (scale) of the noise in units of the sensitivity, > 0.
    source : Generator or None
        See `fedkd.privacy.noise`.
    repair : {"project", "renormalise"}
        How soft labels return to the simplex.

    Examples
    --------
    >>> rows = torch.tensor([[0.7, 0.3], [0.1, 0.9]])
    >>> noisy(rows, "soft_labels", 1e-9, None, 2, torch.Generator().manual_seed(0))
    tensor([[0.7000, 0.3000],
            [0.1000, 0.9000]])
    """
    centre = 1 / values.shape[-1] if kind_named(kind).simplex else 0.0
    moved = values.double() - centre
    if clip is not None:
        moved = clipped(moved, clip, norm)
    draw = normal if norm == 2 else laplace
    scale = multiplier * sensitivity(kind, len(values), clip, norm)
    release = moved + centre + scale * draw(tuple(values.shape), source)
    if kind_named(kind).simplex:
        release = projected(release) if repair == "project" else renormalised(release)
    return release.float()


def projected(values: Tensor) -> Tensor:
    """Return the nearest rows of the simplex, in Euclidean distance.

    Duchi, Shalev-Shwartz, Singer, Chandra, "Efficient Projections onto the l1-Ball", ICML 2008.

    Examples
    --------
    >>> projected(torch.tensor([[1.5, 0.5], [0.2, 0.8]]))
    tensor([[1.0000, 0.0000],
            [0.2000, 0.8000]])
    """
    ordered = values.sort(dim=-1, descending=True).values
    excess = ordered.cumsum(dim=-1) - 1
    places = torch.arange(1, values.shape[-1] + 1, dtype=values.dtype)
    kept = (ordered - excess / places > 0).sum(dim=-1, keepdim=True)
    shift = excess.gather(-1, kept - 1) / kept
    return (values - shift).clamp_min(0)


def renormalised(values: Tensor) -> Tensor:
    """Set what is negative to 0 and divide rows by their sum; a row without anything is uniform.

    Examples
    --------
    >>> renormalised(torch.tensor([[-1.0, 1.0, 3.0], [-1.0, -1.0, 0.0]]))
    tensor([[0.0000, 0.2500, 0.7500],
            [0.3333, 0.3333, 0.3333]])
    """
    positive = values.clamp_min(0)
    sums = positive.sum(dim=-1, keepdim=True)
    uniform = torch.full_like(values, 1 / values.shape[-1])
    least = torch.finfo(values.dtype).tiny  # below it, too few digits are left to divide by
    return torch.where(sums >= least, positive / sums.clamp_min(least), uniform)
