"""Optimisers of the client loop, and carrying their state from one phase to the next."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..models.sgd import SGD, sgd

Optimizer = SGD | torch.optim.Optimizer

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "adam": lambda parameters, lr, momentum, decay: torch.optim.Adam(
        parameters, lr, weight_decay=decay
    ),
}

PREFIX = "optimizer."
"""Names of the tensors of an optimiser's state: ``optimizer.<parameter>.<name>``."""


def distilling(
    fit: Mapping[str, Any], distil: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what distillation trains with: ``distil.*``; if null, the objective's; ``fit.*``.

    A rate suits an optimiser: with another one than its own, an objective's rate is not used.

    Examples
    --------
    >>> fit, own = {"optimizer": "sgd", "lr": 0.05}, {"optimizer": "adam", "lr": 0.001}
    >>> distilling(fit, {"optimizer": None, "lr": None}, own)
    {'optimizer': 'adam', 'lr': 0.001}
    >>> distilling(fit, {"optimizer": "sgd", "lr": None}, own)
    {'optimizer': 'sgd', 'lr': 0.05}
    """
    given = {name: value for name, value in distil.items() if value is not None}
    asked = {**fit, **own}
    other = given.get("optimizer", asked["optimizer"]) != asked["optimizer"]
    return {**(fit if other else asked), **given}


def make_optimizer(
    model: nn.Module, settings: Mapping[str, Any], carried: Mapping[str, Tensor] | None
) -> Optimizer:
    """Return an optimiser as ``fit.*`` says, with the state that it had if that is carried."""
    make = OPTIMIZERS[settings["optimizer"]]
    decay = settings.get("weight_decay", 0.0)
    optimizer = make(model.parameters(), settings["lr"], settings["momentum"], decay)
    for path, value in (carried or {}).items():
        if path.startswith(PREFIX):
            index, name = path.removeprefix(PREFIX).split(".", 1)
            parameter = optimizer.param_groups[0]["params"][int(index)]
            optimizer.state[parameter][name] = value.to(parameter.device, copy=True)
    return optimizer


def carry(optimizer: Optimizer, into: dict[str, Tensor]) -> None:
    """Keep an optimiser's state."""
    for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
        for name, value in optimizer.state[parameter].items():
            if isinstance(value, Tensor):
                into[f"{PREFIX}{index}.{name}"] = value.detach().clone()
