"""Diverged models: noticed where they live, told in the metrics of a reply, counted in the tables.

A model has diverged if one of its parameters or buffers is NaN or infinite, or what it predicts is.
Its accuracy is that of whatever class NaN stands for. A client whose model is replaced by a finite
one has not diverged any longer.
"""

from collections.abc import Collection

import torch
from torch import nn

DIVERGED = "diverged"
"""The metric by which a client tells that its model has diverged."""

NAMED = 5
"""Clients that are named; the others are counted."""


def is_finite(model: nn.Module) -> bool:
    """Tell whether all numbers in a model's parameters and buffers are finite.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> finite = is_finite(model)
    >>> _ = nn.init.constant_(model.bias, float("nan"))
    >>> finite, is_finite(model)
    (True, False)
    """
    tensors = [t.detach() for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]
    if not tensors or bool(torch.stack([t.sum().float() for t in tensors]).isfinite().all()):
        return True
    return all(bool(t.isfinite().all()) for t in tensors)  # a sum of finite numbers may overflow


def spoken(clients: Collection[int]) -> str:
    """Return who has diverged, in one line.

    Examples
    --------
    >>> spoken([0, 3])
    'diverged clients 0, 3: models or predictions are not finite; try a smaller fit.lr or distil.lr'
    """
    named = ", ".join(map(str, sorted(clients)[:NAMED]))
    more = f" and {len(clients) - NAMED} more" if len(clients) > NAMED else ""
    problem = "models or predictions are not finite; try a smaller fit.lr or distil.lr"
    return f"diverged client{'s' * (len(clients) > 1)} {named}{more}: {problem}"
