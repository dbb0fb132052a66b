"""Stages of a student: which layers they are, and what comes out of them in one form."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def stages(model: nn.Module, count: int) -> tuple[str, ...]:
    """Return the names of so many of a model's layers, evenly spread before its last one.

    A layer is a child with parameters, of the first module from above that has several.

    Parameters
    ----------
    model : nn.Module
        Any.
    count : int
        At least 0; where there are fewer layers, all of them are returned.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.Linear(3, 2))
    >>> stages(model, 2), stages(model, 1), stages(nn.Sequential(model), 1)
    (('0', '2'), ('2',), ('0.2',))
    """
    prefix, inner = "", model
    while len(children := dict(inner.named_children())) == 1:
        ((name, inner),) = children.items()
        prefix += f"{name}."
    names = [prefix + name for name in _layers(inner)][:-1]
    count = min(count, len(names))
    return tuple(names[(place + 1) * len(names) // (count + 1)] for place in range(count))


def _layers(module: nn.Module) -> Iterator[str]:
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from (f"{name}.{inner}" for inner in _layers(child))
        elif any(True for _ in child.parameters()):
            yield name


def averaged(name: str, features: object, there: Tensor | None = None) -> Tensor:
    """Return what a layer computed, as means over positions, ``[B, D]``.

    Parameters
    ----------
    name : str
        The layer's.
    features : Tensor or tuple
        ``[B, D]``; maps ``[B, channels, height, width]``; sequences with either axis last, both of
        whose means are returned. Of a tuple, as recurrent layers return, the first.
    there : Tensor, optional
        ``[B, length]`` bool, the places of a sequence that are not padded: the others do not count.

    Raises
    ------
    ValueError
        If it is something else.

    Examples
    --------
    >>> import torch
    >>> averaged("conv", torch.ones(2, 3, 4, 4)).shape, averaged("gru", torch.ones(2, 5, 3)).shape
    (torch.Size([2, 3]), torch.Size([2, 8]))
    """
    found = features[0] if isinstance(features, tuple) else features
    if not isinstance(found, Tensor) or found.dim() < 2:
        raise ValueError(f"stages: what layer {name!r} computes is no tensor [batch, ...]")
    if found.dim() == 3:
        return torch.cat(_means(found, there), dim=1)
    return found.flatten(2).mean(dim=2) if found.dim() > 2 else found


def _means(sequences: Tensor, there: Tensor | None) -> list[Tensor]:
    """Return the means over either axis of ``[B, length, D]`` or ``[B, D, length]``."""
    if there is None or there.shape[1] not in sequences.shape[1:]:
        return [sequences.mean(dim=1), sequences.mean(dim=2)]
    places = 1 if sequences.shape[1] == there.shape[1] else 2
    kept = sequences * there.unsqueeze(3 - places)
    means, share = [kept.mean(dim=1), kept.mean(dim=2)], there.to(kept.dtype).mean(dim=1)
    means[places - 1] = means[places - 1] / share.clamp_min(1 / there.shape[1]).unsqueeze(1)
    return means
