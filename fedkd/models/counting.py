"""How much a model computes."""

import warnings

import torch
from torch import Tensor, nn

from ..rng import scoped
from ..tasks.samples import blank
from .shapes import Shape


def operations(model: nn.Module, shape: Shape) -> int:
    """Return the floating-point operations of one sample's forward pass, as torch counts them.

    Those of matrix products, convolutions and attention, a multiplication and an addition each;
    0 where it has none that torch could see. They are the same on every machine.

    Parameters
    ----------
    model : nn.Module
        The model; it is left as it was.
    shape : tuple of int
        Shape of one sample.

    Examples
    --------
    >>> operations(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), (64,))
    4736
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel  # these two take a second
    from torch.utils.flop_counter import FlopCounterMode

    training = model.training
    # Gradients, and neither oneDNN nor fused attention: what is fused is not counted.
    with (
        warnings.catch_warnings(action="ignore"),
        scoped(0),
        torch.enable_grad(),
        torch.backends.mkldnn.flags(enabled=False),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model.eval()(blank(shape, 2))
    model.train(training)
    return int(counter.get_total_flops()) // 2


def products(model: nn.Module, shape: Shape) -> int:
    """Return about how many multiplications a sample takes: enough to compare architectures.

    Each parameter counts once for every place of its layer's output (one in a dense layer, a pixel
    in a convolution, a token in a recurrent layer), an embedding what is looked up; scripted
    modules do not count. Unlike `operations` it takes no more than a
    forward pass.

    Examples
    --------
    >>> products(nn.Linear(64, 10), (64,)), products(nn.Conv2d(1, 4, 3), (1, 8, 8))
    (650, 1440)
    """
    total = 0

    def count(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal total
        own = list(module.parameters(recurse=False))
        recurrent = isinstance(module, nn.RNNBase)
        if recurrent and isinstance(output, tuple):
            output = output[0]  # the states
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and isinstance(output, Tensor):
            total += output.numel() // 2  # it looks them up
        elif own and isinstance(output, Tensor):
            units = output.shape[-1] if recurrent else len(own[0]) if own[0].dim() else 0
            places = output.numel() // 2 // max(units, 1) if own[0].dim() else 1
            total += sum(parameter.numel() for parameter in own) * max(places, 1)

    training = model.training
    hooks = [
        module.register_forward_hook(count)
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)  # they take none
    ]
    with scoped(0), torch.no_grad():
        model.eval()(blank(shape, 2))
    for hook in hooks:
        hook.remove()
    model.train(training)
    return total
