"""What an objective keeps for a client, from one distil phase to the next."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..distillation.base import NOTHING, Objective
from ..engine.state import refuse_others
from .base import Client


@contextmanager
def recalled(
    client: Client, objective: Objective, device: str
) -> Iterator[MutableMapping[str, Tensor]]:
    """Yield the tensors that an objective keeps for a client, on `device`.

    What it leaves there goes back to the client's tensors, where checkpoints, other actors and a
    resumed run find it; nothing does if the phase fails. An objective that keeps none gets an empty
    mapping that cannot be written to.

    Examples
    --------
    >>> import torch
    >>> from types import SimpleNamespace as Some
    >>> client, objective = Some(tensors={}), Some(remembers=True)
    >>> with recalled(client, objective, "cpu") as memory:
    ...     memory["t"] = torch.tensor(0.4)
    >>> client.tensors
    {'objective.SimpleNamespace.t': tensor(0.4000)}
    """
    if not objective.remembers:
        yield NOTHING
        return
    prefix = f"objective.{type(objective).__name__}."
    own = [name for name in client.tensors if name.startswith(prefix)]
    memory = {name.removeprefix(prefix): client.tensors[name].to(device) for name in own}
    yield memory
    left = {name: travelling(objective, name, value) for name, value in memory.items()}
    for name in own:
        del client.tensors[name]
    client.tensors.update({prefix + name: value for name, value in left.items()})


def travelling(objective: Objective, name: Any, value: Any) -> Tensor:
    """Return a copy of what an objective keeps, on the CPU; refuse what no checkpoint can have.

    Raises
    ------
    TypeError
        Which names it, and what to keep in its place.
    """
    who = f"{type(objective).__name__}'s memory[{name!r}]"
    if not isinstance(name, str):
        raise TypeError(f"{who} is kept under no name: use a text in place of {name!r}")
    refuse_others(who, value)
    if value.requires_grad or isinstance(value, nn.Parameter):
        raise TypeError(f"{who} is no tensor without gradient: keep its .detach()")
    if value.layout != torch.strided:
        raise TypeError(f"{who} is {value.layout}, which does not travel; keep its .to_dense()")
    value = value.detach().cpu().clone()
    try:
        value.numpy()
    except TypeError:
        raise TypeError(f"{who} is {value.dtype}, which does not travel; use float32") from None
    return value
