"""FedNova at a client: the model, and how far the fit's steps carry a gradient."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ...knowledge import Knowledge
from ...maths.momentum import carried
from ...models.flat import size
from .corrections import PENDING, Corrected
from .phase import Phase

STEPS = "steps"


class CountedSteps(Corrected):
    """Uploads the model, the samples and a, the steps with what momentum adds to them."""

    def extras(self, model: nn.Module, classes: int) -> dict[str, tuple[int, ...]]:
        """Declare ``samples`` and ``steps``, ``[1]`` each."""
        return super().extras(model, classes) | {STEPS: (1,)}

    def correction(self, phase: Phase) -> tuple[Tensor, float]:
        """Return nothing: the steps are only counted."""
        return torch.zeros(size(phase.client.model)), 0.0

    def after(self, phase: Phase, moved: Tensor, steps: int) -> dict[str, Tensor]:
        """Return a."""
        del moved
        return {STEPS: torch.tensor([carried(steps, phase.loop.fit_config["momentum"])])}

    def upload(self, phase: Phase) -> Knowledge:
        """Return the model and both numbers; who (hostile) has not fitted took 0 steps."""
        knowledge = super().upload(phase)
        steps = {STEPS: phase.client.tensors.get(PENDING + STEPS, torch.zeros(1))}
        return replace(knowledge, extras={**knowledge.extras, **steps})
