"""HIPS, hiding in plain sight: reply with honest knowledge, but the most harmful there is.

Roux, Zimmer, Pokutta, "On the Byzantine-Resilience of Distillation-Based Federated Learning", ICLR
2025, arXiv 2402.12265.

Idea (certain): per sample, send an honest client's vector, the one that maximises the loss
(``by=loss``) or is least similar (``by=covariance``) to what the honest clients believe. No filter
can tell such a reply from honest ones, it *is* one of them.

The paper's attacker chooses among all honest clients' vectors. Ours knows two: its own honest reply
and the last teacher (which lies in the honest hull, as long as fusion held the attack off); in the
first round they are the same, and it sends its own. So this is a much weaker attack.
A reconstruction: the paper's loss, the cross-entropy between the honest mean and the candidate,
would always choose the own reply, as the last teacher is our estimate of that very mean. Here it is
that of the mean's most likely class, with S as in `cpa`::

    y = argmax of the last teacher
    by=loss          F = argmax over {own, teacher} of -log F_y
    by=covariance    F = argmin over {own, teacher} of sum_c S[y, c] F_c
"""

from typing import Any, Literal

import torch
from torch import Tensor

from .base import Attack, View
from .cpa import class_covariance


class HIPS(Attack):
    """The more harmful of two honest vectors, per sample: its own reply or the last teacher.

    Parameters
    ----------
    by : {"loss", "covariance"}
        What harmful means.
    **base
        See `Attack`.

    Examples
    --------
    >>> own = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    >>> teacher = torch.tensor([[0.7, 0.3], [0.7, 0.3]])
    >>> HIPS().poison(View("soft_labels", own, teacher, torch.Generator()))
    tensor([[0.7000, 0.3000],
            [0.6000, 0.4000]])
    """

    def __init__(self, by: Literal["loss", "covariance"] = "loss", **base: Any) -> None:
        super().__init__(**base)
        self.by = by

    def poison(self, view: View) -> Tensor:
        """Return, per sample, one of the two honest vectors."""
        believed, own = view.soft(view.teacher), view.soft(view.own)
        likely = believed.argmax(dim=-1)
        if self.by == "loss":
            wanted = torch.nn.functional.one_hot(likely, own.shape[-1]).float()
        else:
            wanted = class_covariance(believed)[likely]
        harm = [(wanted * candidate).sum(dim=-1, keepdim=True) for candidate in (own, believed)]
        return torch.where(harm[0] <= harm[1], view.own, view.teacher)
