"""The model itself: parameters, and buffers such as BatchNorm's statistics."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ...knowledge import Knowledge, Target
from ...models.flat import flatten, size, unflatten
from ...secure.summing import HEAVIEST
from .base import Exchange
from .phase import Phase

NO_SAMPLES = torch.zeros(0, dtype=torch.int64)
"""The sample ids of knowledge that is not about transfer samples."""


class Parameters(Exchange):
    """Uploads the model as one vector ``[size]``; a teacher of that shape becomes the model."""

    kind = "parameters"
    from_model = True  # but for the number of samples, which counts as public
    heaviest = HEAVIEST
    counted: ClassVar[tuple[str, ...]] = ("samples",)

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(size,)``."""
        del samples, classes
        return (size(model),)

    def extras(self, model: nn.Module, classes: int) -> dict[str, tuple[int, ...]]:
        """Declare ``samples`` ``[1]``: how many the client has trained on."""
        del model, classes
        return {"samples": (1,)}

    def upload(self, phase: Phase) -> Knowledge:
        """Return the model's parameters."""
        samples = torch.tensor([float(self.samples(phase))])
        vector = self.vector(phase)
        return Knowledge(phase.index, self.kind, vector, NO_SAMPLES, extras={"samples": samples})

    def weights_of(self, knowledge: Knowledge) -> Tensor | None:
        """Return the samples trained on, ``[1]``; who has none weighs a little all the same."""
        return knowledge.extras["samples"].clamp_min(1)

    def samples(self, phase: Phase) -> int:
        """Return how many samples the client has trained on."""
        return len(phase.client.y)

    def vector(self, phase: Phase) -> Tensor:
        """Return what is shared, ``[size]``: the whole model."""
        return flatten(phase.client.model)

    def receive(self, phase: Phase, target: Target) -> None:
        """Start from the server's model."""
        unflatten(phase.client.model, target.values)

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Take over the server's model."""
        self.receive(phase, target)
        return {}
