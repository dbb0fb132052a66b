"""A part of the model: it is shared, the rest stays with the client. Base of such exchanges."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from ...knowledge import Knowledge, Target
from ...models.flat import count, floats, pack, unflatten, unpack
from ...models.parts import others
from .parameters import Parameters
from .phase import Phase

Weighting = Literal["samples", "uniform"]
"""Whether clients count by their samples, or evenly."""

STARTED = "started"
"""The tensor of a client that has had the model which all start from."""


class Part(Parameters):
    """Uploads a part of the model ``[size]``; a teacher of that size replaces it.

    A teacher of the whole model's size is what all clients start from. A client takes it once;
    later it is to it as if the part alone had come.

    Parameters
    ----------
    weighting : {"samples", "uniform"}
        Whether clients count by the samples that they have trained on, which are then uploaded, or
        evenly.
    """

    from_model = True

    def __init__(self, weighting: Weighting = "samples") -> None:
        self.weighting = weighting
        if weighting == "uniform":
            self.heaviest = 1.0

    @abstractmethod
    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what is shared of a model, by name: the tensors themselves."""

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(size,)`` of the part."""
        del samples, classes
        return (count(self.part(model)),)

    def extras(self, model: nn.Module, classes: int) -> dict[str, tuple[int, ...]]:
        """Declare ``samples`` ``[1]``, where they count."""
        return super().extras(model, classes) if self.weighting == "samples" else {}

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models of which there is nothing to share, or nothing to keep."""
        for name, model in models.items():
            if (found := self.unfit(model)) is not None:
                return f"{found[0]}, and {name} {found[1]}"
        return None

    @abstractmethod
    def unfit(self, model: nn.Module) -> tuple[str, str] | None:
        """Say what the method does with a part, and what this model lacks for it; None if nothing.

        It reads ``METHOD {does}, and MODEL {lacks}``.
        """

    def weights_of(self, knowledge: Knowledge) -> Tensor | None:
        """Return the samples trained on, ``[1]``, where they count."""
        return super().weights_of(knowledge) if self.weighting == "samples" else None

    def upload(self, phase: Phase) -> Knowledge:
        """Return the part, and the samples where they count."""
        knowledge = super().upload(phase)
        return knowledge if self.weighting == "samples" else replace(knowledge, extras={})

    def vector(self, phase: Phase) -> Tensor:
        """Return the part of the client's model, ``[size]``."""
        return pack(self.part(phase.client.model))

    def receive(self, phase: Phase, target: Target) -> None:
        """Take over the server's part; the first time, with the rest that all start from."""
        model = phase.client.model
        part = self.part(model)
        if len(target.values) == count(part):
            unpack(part, target.values)
            return
        own = {name: value.clone() for name, value in floats(model).items() if name not in part}
        unflatten(model, target.values)
        if STARTED in phase.client.tensors:
            unpack(others(model, part), pack(own))
        phase.client.tensors[STARTED] = torch.ones(1)
