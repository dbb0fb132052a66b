"""Optimisers of the client loop, and carrying their state from one phase to the next."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class SGD:
    """`torch.optim.SGD` on a CPU, number for number, without what else happens in its `step`.

    A small model's step takes half a millisecond, a tenth of which are torch's hooks; and the
    first optimiser of torch that a process makes imports its compiler (a second, 80 MB).
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": lr}]
        self.momentum, self.weight_decay = momentum, weight_decay
        self.state: dict[nn.Parameter, dict[str, Tensor]] = defaultdict(dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; Opacus passes the flag, and None is what it passes it for."""
        del set_to_none
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take a step: ``v = momentum * v + g``, ``p = p - lr * v``."""
        rate = -self.param_groups[0]["lr"]
        for parameter in self.param_groups[0]["params"]:
            change = parameter.grad
            if change is None:
                continue
            if self.weight_decay:
                change = change.add(parameter, alpha=self.weight_decay)
            if self.momentum:
                change = self._gathered(parameter, change)
            parameter.add_(change, alpha=rate)

    def _gathered(self, parameter: nn.Parameter, change: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = change.clone()
            return state["momentum_buffer"]
        return state["momentum_buffer"].mul_(self.momentum).add_(change)


def sgd(
    parameters: Iterable[nn.Parameter], lr: float, momentum: float, decay: float
) -> SGD | torch.optim.SGD:
    """Return our own for parameters on a CPU, torch's (which fuses kernels) elsewhere."""
    parameters = list(parameters)
    if all(parameter.device.type == "cpu" for parameter in parameters):
        return SGD(parameters, lr, momentum, decay)
    return torch.optim.SGD(parameters, lr, momentum=momentum, weight_decay=decay)


Optimizer = SGD | torch.optim.Optimizer

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "adam": lambda parameters, lr, momentum, decay: torch.optim.Adam(
        parameters, lr, weight_decay=decay
    ),
}

PREFIX = "optimizer."
"""Names of the tensors of an optimiser's state: ``optimizer.<parameter>.<name>``."""


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
