"""A supervised contrast whose anchors are prototypes."""

import torch
from torch import Tensor


def contrast(
    features: Tensor, labels: Tensor, anchors: Tensor, known: Tensor, tau: float
) -> Tensor:
    """Return a supervised contrast whose anchors are prototypes, a mean over their sets.

    ``-mean_i mean_{j != i, y_j = y_i} ln( e^{a_i.f_j/tau} / sum_{l != i} e^{a_i.f_l/tau} )`` for a
    set a; i are the samples whose class has a prototype.

    Parameters
    ----------
    features, labels : Tensor
        ``[n, dim]`` and ``[n]`` int64, each sample twice.
    anchors : Tensor
        ``[sets, n, dim]``, of each sample's class.
    known : Tensor
        ``[n]`` bool.
    tau : float
        Greater than 0.

    Examples
    --------
    >>> features, labels = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
    >>> contrast(features, labels, features.unsqueeze(0), labels >= 0, 1.0)  # ln(1 + 2 / e)
    tensor(0.5514)
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    likeness = (anchors @ features.T / tau).masked_fill(itself, -torch.inf)
    alike = (labels.unsqueeze(1) == labels) & ~itself
    logs = likeness - likeness.logsumexp(dim=-1, keepdim=True)
    each = logs.masked_fill(~alike, 0.0).sum(dim=-1) / alike.sum(dim=-1)
    total: Tensor = -(each * known).sum(dim=-1).mean() / known.sum().clamp_min(1)
    return total
