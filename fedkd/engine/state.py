"""Client state: what a client remembers between two messages.

It is reached only through `ClientState`. `LiveState` keeps it as it is, in the process that hosts
the client (inline and ray engines); `ContextState` carries it in Flower's ``Context.state``, which
is how Flower's own backend and a real deployment do it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from flwr.app import ArrayRecord, Context
from torch import Tensor, nn

from ..errors import shortened
from ..knowledge.arrays import moved, to_arrays, to_tensor, values_of


@dataclass
class Memory:
    """One client's model and whatever tensors its method keeps beside it."""

    model: nn.Module
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse what no checkpoint could keep, and no other process be sent.

        Raises
        ------
        TypeError
            If something is no tensor.
        """
        for name, value in self.tensors.items():
            refuse_others(name, value)


def refuse_others(name: str, value: object) -> None:
    """Raise `TypeError` for what a client is to keep under a name, if it is no tensor.

    Examples
    --------
    >>> refuse_others("steps", torch.tensor(3))
    >>> refuse_others("steps", 3)
    Traceback (most recent call last):
        ...
    TypeError: steps=3 is of type int, and clients keep tensors alone: use torch.tensor(...)
    """
    if not isinstance(value, Tensor):
        what = f"{name}={shortened(value)} is of type {type(value).__name__}"
        raise TypeError(f"{what}, and clients keep tensors alone: use torch.tensor(...)")


OWN_KEYS = ("model", "tensors")
"""The records of ``Context.state`` that `ContextState` uses."""

Build = Callable[[], nn.Module]
"""Builds the client's model as it was before the first round."""


class ClientState(ABC):
    """Loads a client's memory when a message comes in, and commits it when it is answered."""

    @abstractmethod
    def load(self, context: Context, build: Build) -> Memory:
        """Return the memory of the context's client; `build` makes a first model."""

    @abstractmethod
    def commit(self, context: Context, memory: Memory) -> None:
        """Keep the memory for the client's next message."""

    @abstractmethod
    def rollback(self, context: Context) -> None:
        """Forget what happened since `load`: the message failed."""

    @abstractmethod
    def forget(self, context: Context) -> None:
        """Forget the context's client: it lives elsewhere from now on."""


class LiveState(ClientState):
    """Keeps memories in this process."""

    def __init__(self) -> None:
        self.memories: dict[int, Memory] = {}
        self._before: dict[int, tuple[dict[str, Tensor], dict[str, Tensor]]] = {}

    def load(self, context: Context, build: Build) -> Memory:
        """Return the memory, made on first use."""
        node = context.node_id
        if node not in self.memories:
            self.memories[node] = Memory(build())
        memory = self.memories[node]
        self._before[node] = _clones(memory.model.state_dict()), _clones(memory.tensors)
        return memory

    def commit(self, context: Context, memory: Memory) -> None:
        """Keep the memory as it is."""
        self.memories[context.node_id] = memory
        # the client's next message may fail before anything is loaded
        self._before.pop(context.node_id, None)

    def rollback(self, context: Context) -> None:
        """Put back the copy taken when the memory was loaded, if the message came that far."""
        before = self._before.pop(context.node_id, None)
        if before is not None:
            self.memories[context.node_id].model.load_state_dict(before[0])
            self.memories[context.node_id].tensors = before[1]

    def forget(self, context: Context) -> None:
        """Drop the memory."""
        self.memories.pop(context.node_id, None)


def _clones(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


class ContextState(ClientState):
    """Keeps memories in ``Context.state``."""

    def load(self, context: Context, build: Build) -> Memory:
        """Return the memory read from the context."""
        memory, records = Memory(build()), context.state.array_records
        if "model" in records:
            memory.model.load_state_dict(tensors_of(records["model"]))
        if "tensors" in records:
            memory.tensors = tensors_of(records["tensors"])
        return memory

    def commit(self, context: Context, memory: Memory) -> None:
        """Write the memory to the context."""
        context.state["model"] = state_record(memory.model)
        context.state["tensors"] = to_arrays(memory.tensors)

    def rollback(self, context: Context) -> None:
        """Do nothing: the context still holds what it held."""

    def forget(self, context: Context) -> None:
        """Do nothing: the memory goes with the context."""


def state_record(model: nn.Module) -> ArrayRecord:
    """Return a model's state dict as a Flower record (on the CPU)."""
    return to_arrays(model.state_dict())


def tensors_of(record: ArrayRecord) -> dict[str, Tensor]:
    """Return a record's arrays as tensors of their own."""
    return {name: to_tensor(array) for name, array in record.items()}


def load_record(model: nn.Module, record: ArrayRecord) -> None:
    """Load a Flower record into a model, in place and in the model's own types."""
    own, away = model.state_dict(), {}
    with torch.no_grad():
        for name, array in record.items():
            mine = own[name]
            here = mine.device.type == "cpu"
            if here and mine.numpy().dtype == (values := values_of(array)).dtype:
                np.copyto(mine.numpy(), values)
            else:
                away[name] = cast(to_tensor(array), mine.dtype)
        if away:
            device = own[next(iter(away))].device.type
            torch._foreach_copy_([own[n] for n in away], list(moved(away, device).values()))


def cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `value` as `dtype`; a float becomes the nearest integer, not the one below.

    Examples
    --------
    >>> cast(torch.tensor(0.9999999999999999), torch.int64)
    tensor(1)
    """
    rounds = value.is_floating_point() and not dtype.is_floating_point
    return (value.round() if rounds else value).to(dtype)
