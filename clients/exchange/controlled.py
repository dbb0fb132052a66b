"""SCAFFOLD at a client: a control variate, which travels beside the model."""

import torch
from torch import Tensor, nn

from ...knowledge import Target
from ...maths.momentum import carried
from ...models.flat import flatten, size, unflatten
from .corrections import PENDING, Even
from .phase import Phase

COMMON, OWN = "common", "control"


class Controlled(Even):
    """Uploads the model and the change of its control variate, ``[2 * size]``.

    The teacher is the server's model and control variate, in that order.
    """

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(2 * size,)``."""
        del samples, classes
        return (2 * size(model),)

    def correction(self, phase: Phase) -> tuple[Tensor, float]:
        """Return ``c - c_k``."""
        common, own = self.variates(phase)
        return common - own, 0.0

    def after(self, phase: Phase, moved: Tensor, steps: int) -> dict[str, Tensor]:
        """Return ``c_k+ = c_k - c - moved / (lr a)``, a the steps with what momentum adds."""
        common, own = self.variates(phase)
        if not steps:
            return {OWN: own}
        settings = phase.loop.fit_config
        scale = settings["lr"] * carried(steps, settings["momentum"])
        return {OWN: own - common - moved / scale}

    def variates(self, phase: Phase) -> tuple[Tensor, Tensor]:
        """Return c and c_k ``[size]``; they start at 0."""
        tensors, nothing = phase.client.tensors, torch.zeros(size(phase.client.model))
        return tensors.get(COMMON, nothing), tensors.get(OWN, nothing)

    def vector(self, phase: Phase) -> Tensor:
        """Return the model and the change, which is 0 where a (hostile) client has not fitted."""
        own = self.variates(phase)[1]
        change = phase.client.tensors.get(PENDING + OWN, own) - own
        return torch.cat([flatten(phase.client.model), change])

    def receive(self, phase: Phase, target: Target) -> None:
        """Start from the server's model and control variate."""
        model, common = target.values.chunk(2)
        unflatten(phase.client.model, model)
        phase.client.tensors[COMMON] = common.clone()
