"""SGD of small models, at clients and at the server."""

from collections import defaultdict
from collections.abc import Iterable
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
    parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.0, decay: float = 0.0
) -> SGD | torch.optim.SGD:
    """Return our own for parameters on a CPU, torch's (which fuses kernels) elsewhere."""
    parameters = list(parameters)
    if all(parameter.device.type == "cpu" for parameter in parameters):
        return SGD(parameters, lr, momentum, decay)
    return torch.optim.SGD(parameters, lr, momentum=momentum, weight_decay=decay)
