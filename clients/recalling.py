"""What an objective keeps for a client, from one distil phase to the next."""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

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
    kept = {prefix + name: _travelling(objective, name, value) for name, value in memory.items()}
    for name in own:
        del client.tensors[name]
    client.tensors.update(kept)


def _travelling(objective: Objective, name: str, value: Any) -> Tensor:
    """Return a copy of what is kept, on the CPU; refuse what no checkpoint can have."""
    who = f"{type(objective).__name__}'s memory[{name!r}]"
    refuse_others(who, value)
    value = value.detach().cpu().clone()
    try:
        value.numpy()
    except TypeError:
        raise TypeError(f"{who} is {value.dtype}, which does not travel; use float32") from None
    return value
