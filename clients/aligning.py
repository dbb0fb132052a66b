"""Weight aligning: the head's rows of frequent classes get the others' norm (``fit.align``).

::

    w_c <- w_c * mean_{k rare} ||w_k|| / mean_{k frequent} ||w_k||        c frequent

Zhao, Xiao, Gan, Zhang, Xia, "Maintaining Discrimination and Fairness in Class Incremental
Learning", CVPR 2020, arXiv 1911.07053. Confidence: the formula is certain (public code; there new
classes are scaled to the norm of old ones). Here it is used after a fit on skewed data, and which
classes are frequent is our own: those with more than their share 1/C of the client's private
samples. Biases are as they were.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..models.features import head
from .exchange.phase import Phase


def frequent(labels: Tensor, classes: int) -> Tensor:
    """Return which classes have more than their share of some labels, bool ``[classes]``.

    Examples
    --------
    >>> frequent(torch.tensor([0, 0, 0, 1, 2]), 3).tolist()
    [True, False, False]
    """
    counts = torch.bincount(labels, minlength=classes)
    return counts * classes > counts.sum()


def aligned(weight: Tensor, often: Tensor) -> Tensor:
    """Return a head's rows, those of some classes scaled to the mean norm of the others.

    Parameters
    ----------
    weight : Tensor
        ``[classes, features]``.
    often : Tensor
        bool ``[classes]``, which are scaled. If none or all are, or either mean norm is 0, nothing
        changes.

    Examples
    --------
    >>> rows = torch.tensor([[3.0, 4.0], [0.0, 5.0], [6.0, 8.0]])
    >>> aligned(rows, torch.tensor([False, False, True]))
    tensor([[3., 4.],
            [0., 5.],
            [3., 4.]])
    """
    norms = weight.norm(dim=1)
    ours, theirs = norms[often].mean(), norms[~often].mean()  # nan where there is none
    if not (ours > 0 and theirs > 0):
        return weight.clone()
    return torch.where(often[:, None], weight * (theirs / ours), weight)


@contextmanager
def aligning(phase: Phase) -> Iterator[None]:
    """Hold while a client labels samples: its head is aligned, afterwards too unless for that only.

    What it does is a function of the model and the labels it was fitted to: nothing is drawn, and
    nothing kept.
    """
    how = phase.loop.fit_config.get("align", False)
    if not how:
        yield
        return
    weight = head(phase.client.model).weight
    before = weight.detach().clone()
    often = frequent(phase.client.y.cpu(), phase.classes).to(weight.device)
    with torch.no_grad():
        weight.copy_(aligned(before, often))
    try:
        yield
    finally:
        if how == "upload":
            with torch.no_grad():
                weight.copy_(before)
