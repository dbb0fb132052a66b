"""CPA, the class prior attack: sure of the class least related to the likely one.

Roux, Zimmer, Pokutta, "On the Byzantine-Resilience of Distillation-Based Federated Learning", ICLR
2025, arXiv 2402.12265.

Formula (certain, from the paper's code), per sample, with S [c, c] the covariance of the classes'
probabilities over the transfer set::

    F = onehot(argmin over c of S[argmax of the honest mean, c])

The paper's attacker sees all honest replies and has S from a model trained beforehand (its code
ships S as a file). Ours takes the teacher that it last received for the honest mean, in the first
round its own honest reply, and S from the same.
"""

import torch
from torch import Tensor

from .base import Attack, View


def class_covariance(soft: Tensor) -> Tensor:
    """Return the covariance ``[classes, classes]`` of soft labels ``[samples, classes]``.

    Of a single sample it is zero.

    Examples
    --------
    >>> class_covariance(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor([[ 0.2500, -0.2500],
            [-0.2500,  0.2500]])
    """
    return torch.cov(soft.T, correction=0)


class CPA(Attack):
    """One-hot at the class that varies least with the last teacher's most likely class."""

    def poison(self, view: View) -> Tensor:
        """Return the one-hot knowledge."""
        believed = view.soft(view.teacher)
        least = class_covariance(believed).argmin(dim=-1)
        return view.one_hot(least[believed.argmax(dim=-1)])
