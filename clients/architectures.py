"""Which models can be computed as one, and how their samples behave to each other."""

import copy
import pickle
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn

from ..rng import Globals, scoped

_OWN = frozenset(vars(nn.Module())) - {"training"}
"""What every module has: parameters, buffers, children, hooks."""


def architecture(model: nn.Module) -> Hashable:
    """Return what makes two models compute the same function of their parameters and buffers.

    Two models with equal keys have the same modules with the same attributes. Attributes that
    cannot be compared, such as tensors that are no buffers, count as different.

    Examples
    --------
    >>> one, two, other = nn.Dropout(0.1), nn.Dropout(0.1), nn.Dropout(0.2)
    >>> architecture(one) == architecture(two), architecture(one) == architecture(other)
    (True, False)
    >>> architecture(one) == architecture(two.eval())
    False
    """
    return tuple((name, _describe(module)) for name, module in model.named_modules())


def _describe(module: nn.Module) -> Hashable:
    attributes = {k: v for k, v in vars(module).items() if k not in _OWN}
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return (
        type(module),
        tuple((name, _comparable(value)) for name, value in sorted(attributes.items())),
        tuple((name, tuple(t.shape), t.dtype, t.device, t.requires_grad) for name, t in tensors),
        tuple(id(hooks) for name, hooks in vars(module).items() if "hooks" in name and hooks),
    )


def _comparable(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        try:
            return pickle.dumps(value)
        except Exception:  # such as a recurrent layer's weak references: each raises its own
            return id(value)
    return value


def coupled(model: nn.Module, x: Tensor) -> bool | None:
    """Tell whether a sample's logits depend on the other samples of its batch.

    Batch normalisation in training is like that; a padded batch would then give other gradients.

    Parameters
    ----------
    model : nn.Module
        Is tried out as it is, in training or in evaluation mode; left as it was.
    x : Tensor
        ``[n, *shape]``, n at least 1.

    Returns
    -------
    bool or None
        None if the model draws from a global generator, as dropout does in training.

    Examples
    --------
    >>> x = torch.ones(2, 3)
    >>> [coupled(model, x) for model in (nn.Linear(3, 1), nn.BatchNorm1d(3), nn.Dropout())]
    [False, True, None]
    """
    model, first = copy.deepcopy(model), x[:1]
    with scoped(0), torch.no_grad():
        before = Globals.now()
        unlike = 2 * first + 1 if first.is_floating_point() else torch.ones_like(first)
        alike, mixed = (model(torch.cat([first, other]))[0] for other in (first, unlike))
        drawn = not Globals.now().same(before)
    return None if drawn else not torch.allclose(alike, mixed, equal_nan=True)
