"""Compatibility: how alike two untrained architectures see samples, before anything is trained.

Dong, Li, Wei, "DisWOT: Student Architecture Search for Distillation WithOut Training", CVPR 2023,
arXiv 2303.15678. Confidence: certain (the official README), secondary for the plain sum of the two
terms::

    n(M)      = the rows of M, each divided by its L2 norm; rows of zeros stay
    relation  = -1/B^2 * || n(F_t F_t') - n(F_s F_s') ||_F^2
    semantic  = -1/(C D) * sum_c || n(g_t,c g_t,c') - n(g_s,c g_s,c') ||_F^2

F ``[B, any]`` are features of B samples, g_c ``[D]`` is the gradient of the mean cross-entropy by
the head's weights of class c. Both are at most 0, and nearer to 0 is better. The semantic term
needs labels, and heads of one width D.

Deviation: F is what a model's head is fed, where the paper has the maps before average pooling,
which not every model has. Untrained weights are one draw: near scores say nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .features import head, tapped

SAMPLES = 64
"""Transfer samples at most that models are compared on."""


@dataclass(frozen=True)
class View:
    """How a model sees some samples.

    Parameters
    ----------
    features : Tensor
        ``[B, dim]``.
    gradients : Tensor or None
        ``[classes, dim]`` of the head's weights; None without labels.
    """

    features: Tensor
    gradients: Tensor | None


def view(model: nn.Module, x: Tensor, y: Tensor | None) -> View:
    """Return how a model, in evaluation mode, sees samples; its gradients stay as they are.

    Parameters
    ----------
    model : nn.Module
        One with a `head`.
    x : Tensor
        ``[B, *shape]``.
    y : Tensor or None
        ``[B]`` int64.
    """
    with tapped(model.eval()) as tap:
        logits = model(x)
    if y is None:
        return View(tap.features.detach(), None)
    (gradients,) = torch.autograd.grad(F.cross_entropy(logits, y), [head(model).weight])
    return View(tap.features.detach(), gradients)


def relation(one: Tensor, other: Tensor) -> float:
    """Return the relation term of features ``[B, any]`` of the same samples, at most 0.

    Examples
    --------
    >>> student = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    >>> round(relation(torch.eye(2), student), 6)
    -0.199233
    """
    pairs = (unit_rows(f.flatten(1).double() @ f.flatten(1).double().T) for f in (one, other))
    left, right = pairs
    return -(left - right).square().sum().item() / len(one) ** 2


def relations(features: Sequence[Tensor]) -> Tensor:
    """Return B times the relation term of each pair of models, float64, 0 with itself.

    That is the mean over samples of what they differ by, at least -4 whatever B is.

    Parameters
    ----------
    features : sequence of Tensor
        ``[B, any]``, one a model.

    Returns
    -------
    Tensor
        ``[models, models]``, symmetric.

    Examples
    --------
    >>> relations([torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 1.0]])]).numpy().round(6) + 0
    array([[ 0.      , -0.398466],
           [-0.398466,  0.      ]])
    """
    found = torch.zeros(len(features), len(features), dtype=torch.float64)
    for (i, one), (j, other) in combinations(enumerate(features), 2):
        found[i, j] = found[j, i] = len(one) * relation(one, other)
    return found


def semantic(one: Tensor | None, other: Tensor | None) -> float:
    """Return the semantic term of gradients ``[classes, dim]``, at most 0; nan if there is none.

    Examples
    --------
    >>> round(semantic(torch.eye(2), torch.tensor([[3.0, 4.0], [0.0, 1.0]])), 6)
    -0.45
    >>> semantic(torch.eye(2), torch.ones(2, 3)), semantic(torch.eye(2), None)
    (nan, nan)
    """
    if one is None or other is None or one.shape != other.shape:
        return math.nan
    total = 0.0
    for left, right in zip(one.double(), other.double(), strict=True):
        apart = unit_rows(torch.outer(left, left)) - unit_rows(torch.outer(right, right))
        total += apart.square().sum().item()
    return -total / one.numel()


def unit_rows(matrix: Tensor) -> Tensor:
    """Return rows of norm 1; those of zeros stay.

    Examples
    --------
    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    norms = matrix.norm(dim=1, keepdim=True)
    return matrix / torch.where(norms > 0, norms, 1.0)
