"""Exact: every question is answered with the true label."""

from .base import Oracle


class Exact(Oracle):
    """Tells the truth, as `Oracle` does.

    Parameters
    ----------
    cost, classes
        See `Oracle`.

    Examples
    --------
    >>> import torch
    >>> Exact(cost=2.5).label(torch.tensor([4]), torch.tensor([9]), torch.Generator())
    (tensor([9]), tensor([True]))
    """
