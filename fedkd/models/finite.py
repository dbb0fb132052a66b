"""Diverged models: noticed where they live, told in the metrics of a reply, counted in the tables.

A model has diverged if one of its parameters or buffers is NaN or infinite, or what it predicts is.
Its accuracy is that of whatever class NaN stands for. A client whose model is replaced by a finite
one has not diverged any longer.
"""

import torch
from torch import nn


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
