"""The model itself: parameters, and buffers such as BatchNorm's statistics."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from ...flat import flatten, unflatten
from ...knowledge import Knowledge, Lesson
from .base import Exchange

if TYPE_CHECKING:
    from ..phase import Phase

NO_SAMPLES = torch.zeros(0, dtype=torch.int64)
"""The sample ids of knowledge that is not about transfer samples."""


class Parameters(Exchange):
    """Uploads the model as one vector ``[size]``; a teacher of that shape becomes the model."""

    kind = "parameters"

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(size,)``."""
        del samples, classes
        return (len(flatten(model)),)

    def upload(self, phase: "Phase") -> Knowledge:
        """Return the model's parameters."""
        return Knowledge(phase.index, self.kind, flatten(phase.client.model), NO_SAMPLES)

    def receive(self, phase: "Phase", lesson: Lesson) -> None:
        """Start from the server's model."""
        unflatten(phase.client.model, lesson.values)

    def learn(self, phase: "Phase", lesson: Lesson) -> dict[str, float]:
        """Take over the server's model."""
        self.receive(phase, lesson)
        return {}
