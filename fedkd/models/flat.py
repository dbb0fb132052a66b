"""A model's parameters as one vector, and back."""

import torch
from torch import Tensor, nn


def floats(model: nn.Module) -> dict[str, Tensor]:
    """Return the floating-point part of a model's state, buffers such as BatchNorm's included."""
    return {k: v.detach() for k, v in model.state_dict().items() if v.is_floating_point()}


def layout(model: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return names and shapes: models with equal layouts can be averaged.

    Examples
    --------
    >>> layout(nn.Linear(2, 1))
    (('weight', (1, 2)), ('bias', (1,)))
    """
    return tuple((name, tuple(value.shape)) for name, value in floats(model).items())


def size(model: nn.Module) -> int:
    """Return how many numbers `flatten` would return.

    Examples
    --------
    >>> size(nn.Linear(2, 1))
    3
    """
    return sum(value.numel() for value in floats(model).values())


def flatten(model: nn.Module) -> Tensor:
    """Return a model's floating-point state as one float32 vector ``[size]``, in fresh memory."""
    return torch.cat([value.flatten().float() for value in floats(model).values()]).cpu()


def unflatten(model: nn.Module, vector: Tensor) -> nn.Module:
    """Load a vector that `flatten` made of a model of the same layout, and return the model.

    Examples
    --------
    >>> unflatten(nn.Linear(2, 1), torch.tensor([1.0, 2.0, 3.0])).bias.item()
    3.0
    """
    own = floats(model)
    parts = vector.split([value.numel() for value in own.values()])
    with torch.no_grad():
        for value, part in zip(own.values(), parts, strict=True):
            value.copy_(part.view_as(value))
    return model


def trained(model: nn.Module) -> Tensor:
    """Return which of the numbers of `flatten` are parameters, and no buffers: bool ``[size]``.

    Examples
    --------
    >>> trained(nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))).tolist()
    [True, True, True, True, False, False]
    """
    names = {name for name, _ in model.named_parameters()}
    parts = [torch.full((v.numel(),), name in names) for name, v in floats(model).items()]
    return torch.cat(parts)
