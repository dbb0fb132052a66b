"""What a model computes just before its last layer."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def head(model: nn.Module) -> nn.Linear:
    """Return a model's last linear layer, in the order of definition.

    Raises
    ------
    ValueError
        If it has none.

    Examples
    --------
    >>> head(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))).in_features
    4
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ValueError("has no linear layer")
    return layers[-1]


def headless(models: Mapping[str, nn.Module], x: Tensor | None = None) -> str | None:
    """Return the first of some named models without a `head`, and that it has none.

    With samples `x`, also one whose head answers at every place of a sample, of which it then makes
    one answer: padded places among them, a sample has no features of its own.

    Examples
    --------
    >>> headless({"flat": nn.Flatten()})
    'flat has no linear layer'
    """
    for name, model in models.items():
        try:
            head(model)
        except ValueError as reason:
            return f"{name} {reason}"
        if x is not None and _scattered(copy.deepcopy(model).eval(), x):
            return f"the last linear layer of {name} answers at every place of a sample, not once"
    return None


@torch.no_grad()
def _scattered(model: nn.Module, x: Tensor) -> bool:
    """Say whether what goes into a model's head has more dimensions than what it returns."""
    with tapped(model) as tap:
        answer: Tensor = model(x)
    return getattr(tap, "features", answer).dim() > answer.dim()


def common_width(models: Iterable[nn.Module]) -> int | None:
    """Return how many features all these models have; None where they differ.

    Examples
    --------
    >>> common_width([nn.Linear(8, 2), nn.Linear(8, 3)])
    8
    >>> common_width([nn.Linear(8, 2), nn.Linear(4, 2)])
    """
    widths = {head(model).in_features for model in models}
    return widths.pop() if len(widths) == 1 else None


class Tap:
    """Holds the features ``[batch, dim]`` of a model's latest forward pass, with gradient."""

    features: Tensor


@contextmanager
def tapped(model: nn.Module) -> Iterator[Tap]:
    """Watch what goes into a model's `head`.

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(2, 3))
    >>> with tapped(model) as tap:
    ...     logits = model(torch.tensor([[-1.0, 2.0]]))
    >>> tap.features
    tensor([[0., 2.]])
    """
    tap = Tap()

    def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module
        tap.features = inputs[0]

    handle = head(model).register_forward_pre_hook(watch)
    try:
        yield tap
    finally:
        handle.remove()


LISTS = nn.ModuleList, nn.ModuleDict
"""Modules that hold others, and compute nothing themselves."""

HEAD = "head"
"""The name, in `watched`, of what goes into a model's `head`."""


@contextmanager
def watched(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Watch layers: yield a dict that holds, after a forward pass, what each computed, by name.

    Parameters
    ----------
    model : nn.Module
        One that has them, see `lacking`.
    layers : sequence of str
        `HEAD`, what goes into its `head`; or a module's dotted name, what comes out of that.

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(2, 3))
    >>> with watched(model, ["0", "head"]) as seen:
    ...     logits = model(torch.tensor([[-1.0, 2.0]]))
    >>> seen["0"], seen["head"]
    (tensor([[-1.,  2.]]), tensor([[0., 2.]]))
    """
    seen: dict[str, Tensor] = {}

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], *output: Tensor) -> None:
        del module
        seen[name] = output[0] if output else inputs[0]

    handles = [
        head(model).register_forward_pre_hook(partial(note, name))
        if name == HEAD
        else model.get_submodule(name).register_forward_hook(partial(note, name))
        for name in layers
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def lacking(model: nn.Module, layers: Iterable[str]) -> str | None:
    """Return the first of some layers, named as for `watched`, that a model does not have.

    A list of layers is none: nothing comes out of it.

    Examples
    --------
    >>> lacking(nn.Sequential(nn.Linear(2, 3)), ["head", "0", "stem"])
    'stem'
    """
    modules = {name: one for name, one in model.named_modules() if not isinstance(one, LISTS)}
    linear = any(isinstance(module, nn.Linear) for module in modules.values())
    return next((n for n in layers if not (linear if n == HEAD else n in modules)), None)


def pooled(features: Tensor, dim: int) -> Tensor:
    """Return features ``[batch, any]`` as ``[batch, dim]``, by averaging neighbours.

    Models of different width then have features of one shape, without a parameter to learn.

    Examples
    --------
    >>> pooled(torch.tensor([[1.0, 3.0, 5.0, 7.0]]), 2)
    tensor([[2., 6.]])
    """
    if features.shape[-1] == dim:
        return features
    return F.adaptive_avg_pool1d(features.unsqueeze(1), dim).squeeze(1)


def features_of(model: nn.Module, x: Tensor, dim: int | None = None) -> Tensor:
    """Return the features of samples in evaluation mode, ``[samples, dim]``, without gradient."""
    with tapped(model.eval()) as tap, torch.no_grad():
        parts = []
        for part in x.split(512):
            model(part)
            parts.append(tap.features if dim is None else pooled(tap.features, dim))
    return torch.cat(parts)
