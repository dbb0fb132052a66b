"""Parts of a model, as the tensors of its state by name: what a method may share or keep apart."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .features import head
from .flat import floats

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
"""Layers that look at a whole batch in training: no single sample will do."""


def top(model: nn.Module) -> dict[str, Tensor]:
    """Return the weight and bias of a model's `head`, by their names in it.

    They have the same names whatever is below, so that heads of one shape can be averaged.

    Examples
    --------
    >>> list(top(nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))))
    ['weight', 'bias']
    """
    return floats(head(model))


def body(model: nn.Module) -> dict[str, Tensor]:
    """Return all of a model but its `head`, statistics of BatchNorm included.

    A layer that has its weights in common with the head belongs to the head.

    Examples
    --------
    >>> list(body(nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))))
    ['0.weight', '0.bias']
    """
    above = {value.data_ptr() for value in top(model).values()}
    return {name: v for name, v in floats(model).items() if v.data_ptr() not in above}


def unnormalised(model: nn.Module) -> dict[str, Tensor]:
    """Return all of a model but its BatchNorm layers: their parameters, and their statistics.

    What counts is what a layer is, not what it is called.

    Examples
    --------
    >>> list(unnormalised(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2)))))
    ['0.weight', '0.bias']
    """
    layers = (one for one in model.modules() if isinstance(one, BATCH_NORMS))
    own = {value.data_ptr() for layer in layers for value in floats(layer).values()}
    return {name: v for name, v in floats(model).items() if v.data_ptr() not in own}


def others(model: nn.Module, part: Collection[str]) -> dict[str, Tensor]:
    """Return what is not in a part of a model, given by its names."""
    return {name: value for name, value in floats(model).items() if name not in part}


@contextmanager
def still(model: nn.Module, part: Collection[str]) -> Iterator[None]:
    """Keep a part of a model as it is while the rest is trained.

    Its parameters have no gradient, and its buffers are put back afterwards.

    Parameters
    ----------
    model : nn.Module
        Trained in place, by any loop whose optimiser leaves alone what has no gradient.
    part : collection of str
        Names of its state.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> with still(model, ["weight"]):
    ...     model.weight.requires_grad, model.bias.requires_grad
    (False, True)
    >>> model.weight.requires_grad
    True
    """
    held = [p for n, p in model.named_parameters() if n in part and p.requires_grad]
    buffers = [b for n, b in model.named_buffers() if n in part]
    before = [buffer.clone() for buffer in buffers]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
