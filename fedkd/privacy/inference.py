"""What soft labels say about the data that a model was trained on: its label distribution.

Shi, Ouyang and Wang, "Unveiling Client Privacy Leakage from Public Dataset Usage in Federated
Distillation", arXiv 2502.08001, infer it from outputs on the public set (abstract only: the
formulas below are ours). KnFu's EPD is `mean_soft_label`.
"""

import numpy as np
from torch import Tensor

from ..maths.divergences import divergence


def mean_soft_label(soft: Tensor) -> Tensor:
    """Return the mean soft label of each client, ``[n, samples, classes] -> [n, classes]``.

    Examples
    --------
    >>> import torch
    >>> mean_soft_label(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    tensor([[0.5000, 0.5000]])
    """
    return soft.mean(dim=-2)


def debiased(means: Tensor, prior: Tensor, strength: float = 1.0) -> Tensor:
    r"""Return mean soft labels freed of what all clients have in common.

    .. math:: \hat\pi_k[y] \propto prior[y] \, (m_k[y] / \bar m[y])^{strength}, \qquad
        \bar m = \frac1n \sum_k m_k

    The transfer set's own classes, and what every model finds easy, are in :math:`m_k` and
    :math:`\bar m` alike.

    Parameters
    ----------
    means : Tensor
        ``[n, classes]``, on the simplex.
    prior : Tensor
        ``[classes]``, what is known before, such as the uniform distribution.
    strength : float
        Exponent, > 0.

    Examples
    --------
    >>> import torch
    >>> debiased(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0.5, 0.5]))
    tensor([[0.7500, 0.2500],
            [0.3333, 0.6667]])
    """
    common = means.mean(dim=0).clamp_min(1e-9)
    values = prior * (means / common) ** strength
    return values / values.sum(dim=-1, keepdim=True)


def errors(inferred: Tensor, true: Tensor, floor: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    r"""Return KL(inferred || true) in nats and L1 of each client, both ``[n]``.

    .. math:: KL = \sum_y \hat\pi[y] \log(\hat\pi[y] / \pi[y]), \qquad
        L_1 = \sum_y |\hat\pi[y] - \pi[y]|

    A client that lacks a class would make KL infinite: the true distribution is mixed with the
    uniform one by a share of ``classes * floor`` in KL.

    Examples
    --------
    >>> import torch
    >>> kl, l1 = errors(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]))
    >>> l1
    array([1.])
    """
    p, q = inferred.double(), true.double()
    mixed = (1 - floor * q.shape[-1]) * q + floor
    kl = divergence(p, mixed, "kl").diagonal()
    return kl.numpy(), (p - q).abs().sum(dim=-1).numpy()
