"""What every engine relies on: a factory gives new weights each time, in float32 or float64.

A model whose tensors are its own, and which is no more than its parameters and buffers, can be
checkpointed, sent to another process, and put back after a failure.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError

FLOATS = (torch.float32, torch.float64)

Place = tuple[torch.device, int]
"""Where the memory of a tensor begins."""


def refuse_unusable(name: str, model: nn.Module) -> None:
    """Refuse a model that cannot be averaged or checkpointed.

    Parameters
    ----------
    name : str
        What the user calls it.
    model : nn.Module
        A freshly built one.

    Raises
    ------
    ConfigError
        If it has half-precision or complex numbers, or a state beside parameters and buffers.

    Examples
    --------
    >>> refuse_unusable("net", nn.Linear(2, 1).half())
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: model=net: its weight is of type torch.float16, and clients train, \
average and checkpoint float32 or float64; build it with .float()
    """
    for key, tensor in _tensors(model):
        if (tensor.is_floating_point() or tensor.is_complex()) and tensor.dtype not in FLOATS:
            problem = f"its {key} is of type {tensor.dtype}, and clients train, average and"
            remedy = "checkpoint float32 or float64; build it with .float()"
            raise ConfigError("model", name, f"{problem} {remedy}")
    own = {_place(tensor) for _, tensor in _tensors(model)}
    for key, value in model.state_dict().items():
        if not isinstance(value, Tensor) or (value.numel() and _place(value) not in own):
            problem = f"its state has {key}, which is no parameter or buffer (get_extra_state?) and"
            remedy = "would be lost in checkpoints; keep it in a tensor with register_buffer"
            raise ConfigError("model", name, f"{problem} {remedy}")


def refuse_shared(built: Sequence[tuple[str, nn.Module]]) -> None:
    """Refuse models that have a parameter or buffer in common.

    Clients that shared weights would train one another's where they live in one process, and each
    their own where they do not. A copy would do as well, but of what is the user's to say: all
    clients would start from the same weights.

    Parameters
    ----------
    built : sequence of (str, nn.Module)
        Models with their names; those of one name came out of one factory, one after the other.

    Raises
    ------
    ConfigError
        With the first tensor that is in two of them.

    Examples
    --------
    >>> net = nn.Linear(2, 1)
    >>> refuse_shared([("net", net), ("net", net)])
    Traceback (most recent call last):
        ...
    fedkd.errors.ConfigError: model=net: clients would share weights, as each call returns the \
same weight; build new ones in each call, or return copy.deepcopy(...)
    """
    held: dict[Place, tuple[int, str]] = {}
    for number, (name, model) in enumerate(built):
        for key, tensor in _tensors(model):
            place = _place(tensor)
            if not tensor.numel() or not place[1]:
                continue
            owner, other = held.setdefault(place, (number, name))
            if owner != number:
                why = "each call returns the same" if other == name else f"{other} has the same"
                problem = f"clients would share weights, as {why} {key}; build new ones in each"
                raise ConfigError("model", name, f"{problem} call, or return copy.deepcopy(...)")


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _place(tensor: Tensor) -> Place:
    return tensor.device, tensor.untyped_storage().data_ptr()
