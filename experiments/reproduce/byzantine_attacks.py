"""What a hostile client can do to averaged parameters: lies of the three kinds of `byzantine`.

The shipped attacks poison predictions, and Flower's own strategies exchange the model: so these
tamper with the arrays of a reply. All keep to what an honest client could have sent by its size,
but for the last, which nothing but a server's limit of magnitude forbids::

    by chance         w = mean(w_n) + std(w_n) N(0, 1), tensor by tensor, of the honest reply w_n
    reversed          w = g - s (w_n - g), g being what the client received; s = 1
    reversed tenfold  the same with s = 10

Sign flips of updates are a common test of robust averaging; that these are the counterparts of what
is said of predictions there is ours.
"""

from typing import Any

import torch
from torch import Tensor

from ...clients.attacks import Attack, View


class ByChance(Attack):
    """Numbers drawn by chance, with each tensor's own mean and deviation."""

    kinds = ("parameters",)

    def poison(self, view: View) -> Tensor:
        """Return such numbers."""
        noise = torch.randn(view.own.shape, generator=view.generator)
        return view.own.mean() + view.own.std(correction=0) * noise


class Reversed(Attack):
    """The update that it has learned, turned round.

    Parameters
    ----------
    scale : float
        How long it becomes, > 0.
    **base
        See `Attack`.

    Examples
    --------
    >>> trained, received = torch.tensor([1.0, -2.0]), torch.zeros(2)
    >>> Reversed(scale=10.0).poison(View("parameters", trained, received, torch.Generator()))
    tensor([-10.,  20.])
    """

    kinds = ("parameters",)

    def __init__(self, scale: float = 1.0, **base: Any) -> None:
        super().__init__(**base)
        if not scale > 0:
            raise ValueError(f"scale={scale} must be greater than 0")
        self.scale = scale

    def poison(self, view: View) -> Tensor:
        """Return what lies on the other side of the received model."""
        return view.teacher - self.scale * (view.own - view.teacher)
