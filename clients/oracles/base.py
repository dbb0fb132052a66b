"""What an oracle is. Subclass `Oracle` and override `label` to write one."""

import math
from typing import ClassVar

import torch
from torch import Tensor

UNANSWERED = -1
"""The label of a sample whose question was not answered."""


class Oracle:
    """Tells the labels of samples that a client asks about; this one knows them all.

    Labels and answers depend on what `label` is given, and on nothing else.

    Parameters
    ----------
    cost : float
        Cost of one query, in units of your choice, >= 0.
    classes : int
        Number of classes, the run's.
    """

    from_run: ClassVar[tuple[str, ...]] = ("classes",)
    """parameters that are the run's, and no keys of ``oracle``"""

    def __init__(self, *, cost: float = 1.0, classes: int = 0) -> None:
        if not 0 <= cost < math.inf:
            raise ValueError(f"cost={cost} must be at least 0 and finite")
        self.cost, self.classes = cost, classes

    def label(
        self, ids: Tensor, true_labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Answer the questions of one client in one cycle.

        Parameters
        ----------
        ids : Tensor
            ``[queries]`` int64, which of the client's samples, the most wanted first.
        true_labels : Tensor
            ``[queries]`` int64.
        generator : torch.Generator
            The random stream of these answers.

        Returns
        -------
        labels : Tensor
            ``[queries]`` int64, `UNANSWERED` where there is no answer.
        answered : Tensor
            ``[queries]`` bool.

        Examples
        --------
        >>> Oracle().label(torch.tensor([7, 2]), torch.tensor([1, 0]), torch.Generator())
        (tensor([1, 0]), tensor([True, True]))
        """
        del generator
        if ids.dim() != 1 or ids.shape != true_labels.shape:
            shapes = f"{list(ids.shape)} and {list(true_labels.shape)}"
            raise ValueError(f"ids and true_labels have shapes {shapes}, not both [queries]")
        return true_labels.long().clone(), torch.ones(len(ids), dtype=torch.bool)


def withheld(labels: Tensor, answered: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels without those that are not answered, and `answered`."""
    return labels.masked_fill(~answered, UNANSWERED), answered


def probability(p: float) -> float:
    """Return a parameter ``p``, or say that it is none.

    Examples
    --------
    >>> probability(1.5)
    Traceback (most recent call last):
        ...
    ValueError: p=1.5 must be in [0, 1]
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p={p} must be in [0, 1]")
    return p
