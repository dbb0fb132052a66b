"""What objectives share that learn from a label beside the teacher."""

from typing import Literal

import torch
from torch import Tensor

from .base import Batch, Objective, Target


class Labelled(Objective):
    """Base of objectives that single out one class of each sample.

    Parameters
    ----------
    labels : {"transfer", "teacher"}
        Which class: the transfer set's label, or the teacher's most likely class.
    temperature : float
        Softmax temperature of student and teacher.
    """

    per_sample = True

    def __init__(
        self, *, labels: Literal["transfer", "teacher"] = "transfer", temperature: float = 1.0
    ) -> None:
        super().__init__(temperature)
        self.needs_labels = labels == "transfer"

    def chosen(self, teacher: Target, batch: Batch | None) -> Tensor:
        """Return whether a class is a sample's own, bool ``[B, C]``.

        Raises
        ------
        ValueError
            If the labels of the transfer set are asked for, and the batch has none.
        """
        y = None if batch is None else batch.y
        if not self.needs_labels:
            y = teacher.values.argmax(dim=-1)
        if y is None:
            raise ValueError("labels=transfer needs a batch with labels; labels=teacher does not")
        return torch.arange(teacher.values.shape[-1], device=y.device) == y[:, None]


def of_own(log_p: Tensor, own: Tensor) -> Tensor:
    """Return the log-probability of each sample's own class, ``[B]``."""
    return log_p.masked_fill(~own, 0.0).sum(dim=-1)


def of_rest(log_p: Tensor, own: Tensor) -> Tensor:
    """Return the logarithm of the other classes' sum, ``[B]``, exact also where it is tiny."""
    return log_p.masked_fill(own, -torch.inf).logsumexp(dim=-1)


def among_rest(log_p: Tensor, own: Tensor) -> Tensor:
    """Return log-probabilities among the other classes, ``[B, C]``; -inf for the own one.

    Examples
    --------
    >>> log_p, own = torch.tensor([[0.6, 0.3, 0.1]]).log(), torch.tensor([[True, False, False]])
    >>> among_rest(log_p, own).exp(), of_own(log_p, own).exp(), of_rest(log_p, own).exp()
    (tensor([[0.0000, 0.7500, 0.2500]]), tensor([0.6000]), tensor([0.4000]))
    """
    return log_p.masked_fill(own, -torch.inf).log_softmax(dim=-1)
