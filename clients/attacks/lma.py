"""LMA, the loss maximisation attack: sure of the least likely class.

Roux, Zimmer, Pokutta, "On the Byzantine-Resilience of Distillation-Based Federated Learning", ICLR
2025, arXiv 2402.12265.

Formula (certain, from the paper's code), per sample::

    F = onehot(argmin over c of the honest mean's F_c)

The paper's attacker sees all honest replies. Ours takes the teacher that it last received for their
mean, and in the first round its own honest reply.
"""

from torch import Tensor

from .base import Attack, View


class LMA(Attack):
    """One-hot at the class that the last teacher holds least likely.

    Examples
    --------
    >>> import torch
    >>> own, teacher = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.7, 0.1, 0.2]])
    >>> LMA().poison(View("soft_labels", own, teacher, torch.Generator()))
    tensor([[0., 1., 0.]])
    >>> LMA().poison(View("logits", 9 * own, 9 * teacher, torch.Generator()))
    tensor([[0.9000, 6.3000, 0.9000]])
    """

    def poison(self, view: View) -> Tensor:
        """Return the one-hot knowledge."""
        return view.one_hot(view.teacher.argmin(dim=-1))
