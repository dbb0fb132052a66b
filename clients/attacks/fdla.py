"""FDLA: the client's own confidences, handed to the wrong classes.

Tang, Wu, Gao, Wen, Wang, Sun, "Logits Poisoning Attack in Federated Distillation", KSEM 2024, arXiv
2401.03685.

Certain (the abstract and a summary): the class confidences of a client's reply are sorted and
reordered, so that the largest lands on a wrong but similar class. A reconstruction (the exact
reordering is not publicly confirmed): every class takes the confidence of the one ranked above it,
and the most likely class takes the smallest. With classes c_1, c_2, ... by falling confidence::

    F'_{c_2} = F_{c_1},   F'_{c_3} = F_{c_2},   ...,   F'_{c_1} = F_{c_C}

It needs no estimate of what others reply, and works on logits as on soft labels.
"""

from torch import Tensor

from .base import Attack, View


class FDLA(Attack):
    """Moves every confidence to the class that is next in rank.

    Examples
    --------
    >>> import torch
    >>> own = torch.tensor([[0.7, 0.1, 0.2]])
    >>> FDLA().poison(View("soft_labels", own, own, torch.Generator()))
    tensor([[0.1000, 0.2000, 0.7000]])
    """

    def poison(self, view: View) -> Tensor:
        """Return the client's own reply with its entries moved."""
        ranked = view.own.sort(dim=-1, descending=True, stable=True)
        return view.own.scatter(-1, ranked.indices.roll(-1, dims=-1), ranked.values)
