"""Losses of two models that learn from each other while both learn from labels.

A training loop has the cross-entropy of one of them already; what is here is all the rest.
"""

from torch import Tensor
from torch.nn import functional as F


def divergence_from(target: Tensor, logits: Tensor) -> Tensor:
    """Return ``KL(softmax(target) || softmax(logits))``, a mean over the batch, in nats.

    The target is a constant: no gradient goes into it.

    Examples
    --------
    >>> import torch
    >>> divergence_from(torch.tensor([[0.0, 0.0]]), torch.tensor([[5.0, 5.0]])).item()
    0.0
    """
    fixed = target.detach().log_softmax(dim=-1)
    return F.kl_div(logits.log_softmax(dim=-1), fixed, reduction="batchmean", log_target=True)


def mutual(own: Tensor, shared: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    """Return FML's two losses, less the cross-entropy of the own model that the loop has already.

    Parameters
    ----------
    own, shared : Tensor
        Logits ``[batch, classes]`` of the client's model and of the mentee.
    labels : Tensor
        ``[batch]`` int64.
    alpha, beta : float
        Share of cross-entropy in the loss of either.

    Examples
    --------
    >>> import torch
    >>> logits, labels = torch.zeros(1, 2), torch.tensor([0])
    >>> round((mutual(logits, logits, labels, 0.5, 0.5) / torch.tensor(2.0).log()).item(), 4)
    0.0
    """
    cross = F.cross_entropy(own, labels)
    mine = (alpha - 1) * cross + (1 - alpha) * divergence_from(shared, own)
    return mine + beta * F.cross_entropy(shared, labels) + (1 - beta) * divergence_from(own, shared)


def adaptive(
    own: Tensor, shared: Tensor, hidden: tuple[Tensor, Tensor], labels: Tensor, floor: float
) -> Tensor:
    """Return FedKD's two losses, less the cross-entropy of the mentor that the loop has already.

    Parameters
    ----------
    own, shared : Tensor
        Logits ``[batch, classes]`` of mentor and mentee.
    hidden : tuple of Tensor
        ``[batch, dim]`` each, ``h_m`` and ``W h_s``.
    labels : Tensor
        ``[batch]`` int64.
    floor : float
        Smallest divisor.

    Examples
    --------
    >>> import torch
    >>> logits, labels = torch.zeros(1, 2), torch.tensor([0])
    >>> apart = torch.tensor([[2.0]]), torch.tensor([[0.0]])  # 4, over twice ln 2
    >>> round(adaptive(logits, logits, apart, labels, 0.1).item(), 4)
    3.5785
    """
    small = F.cross_entropy(shared, labels)
    divisor = (F.cross_entropy(own, labels) + small).detach().clamp_min(floor)
    # One term with gradients into both sides is each model's own term with the other fixed.
    apart = divergence_from(shared, own) + divergence_from(own, shared) + F.mse_loss(*hidden)
    return small + apart / divisor
