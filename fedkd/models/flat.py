"""A model's parameters as one vector, and back."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes."""


def floats(model: nn.Module) -> dict[str, Tensor]:
    """Return the floating-point part of a model's state, buffers such as BatchNorm's included."""
    return {k: v.detach() for k, v in model.state_dict().items() if v.is_floating_point()}


def layout(model: nn.Module) -> Layout:
    """Return names and shapes: models with equal layouts can be averaged.

    Examples
    --------
    >>> layout(nn.Linear(2, 1))
    (('weight', (1, 2)), ('bias', (1,)))
    """
    return shapes(floats(model))


def shapes(tensors: Mapping[str, Tensor]) -> Layout:
    """Return names and shapes of tensors: those with equal ones can be averaged."""
    return tuple((name, tuple(value.shape)) for name, value in tensors.items())


def count(tensors: Mapping[str, Tensor]) -> int:
    """Return how many numbers `pack` would return."""
    return sum(value.numel() for value in tensors.values())


def pack(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return tensors as one float32 vector ``[size]``, in fresh memory on the CPU.

    Examples
    --------
    >>> pack({"a": torch.ones(1, 2), "b": torch.zeros(1)})
    tensor([1., 1., 0.])
    """
    return torch.cat([value.detach().flatten().float() for value in tensors.values()]).cpu()


@torch.no_grad()
def unpack(tensors: Mapping[str, Tensor], vector: Tensor) -> None:
    """Copy a vector that `pack` made of tensors of the same shapes into these.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> unpack(floats(model), torch.tensor([1.0, 2.0, 3.0]))
    >>> model.bias.item()
    3.0
    """
    parts = vector.split([value.numel() for value in tensors.values()])
    for value, part in zip(tensors.values(), parts, strict=True):
        value.copy_(part.view_as(value))


def size(model: nn.Module) -> int:
    """Return how many numbers `flatten` would return.

    Examples
    --------
    >>> size(nn.Linear(2, 1))
    3
    """
    return count(floats(model))


def flatten(model: nn.Module) -> Tensor:
    """Return a model's floating-point state as one float32 vector ``[size]``, in fresh memory."""
    return pack(floats(model))


def unflatten(model: nn.Module, vector: Tensor) -> nn.Module:
    """Load a vector that `flatten` made of a model of the same layout, and return the model.

    Examples
    --------
    >>> unflatten(nn.Linear(2, 1), torch.tensor([1.0, 2.0, 3.0])).bias.item()
    3.0
    """
    unpack(floats(model), vector)
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
