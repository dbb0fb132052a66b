"""How much memory a client takes in a stack, and how much there is."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

COPIES = 5
"""Copies of the parameters at most: stack, gradient, two moments of Adam, FedProx's start."""

PASSES = 3
"""Copies of the activations: forward, backward, and what kernels work in."""

PART = 0.8
"""Part of the free memory that stacks may fill."""


def footprint(model: nn.Module, x: Tensor, batch: int) -> int:
    """Return about how many bytes a client takes in a stack.

    Parameters
    ----------
    model : nn.Module
        Its model.
    x : Tensor
        ``[n, *shape]`` its samples where the model is, n at least 1.
    batch : int
        Samples of a step.

    Examples
    --------
    >>> footprint(nn.Linear(3, 2), torch.ones(10, 3), 4) == 5 * 4 * 8 + 4 * 30 + 3 * 4 * 4 * 2
    True
    """
    probe, sizes = copy.deepcopy(model).eval(), []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs
        sizes.append(output.nbytes if isinstance(output, Tensor) else 0)

    for module in probe.modules():
        if not any(True for _ in module.children()):
            module.register_forward_hook(note)
    with torch.no_grad():
        probe(x[:1])
    state = sum(tensor.nbytes for tensor in model.state_dict().values())
    return COPIES * state + x.nbytes + PASSES * batch * sum(sizes)


def free_bytes(share: float) -> int:
    """Return the bytes of GPU memory that this process may fill.

    Parameters
    ----------
    share : float
        Its share of the GPU, in (0, 1].
    """
    free, total = torch.cuda.mem_get_info()
    kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # ours, unused
    left = total * min(share, 1.0) - torch.cuda.memory_allocated()
    return max(0, int(PART * min(free + kept, left)))
