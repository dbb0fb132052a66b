"""Logits and how alike samples are to a client: FCCL+'s."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...knowledge import Knowledge
from ...maths.masked import divergence_among
from ...models.features import features_of
from ...tasks.rows import rows_of
from .logits import Logits
from .phase import Phase
from .recalled_logits import Recalling
from .received import Loss, Sight
from .scoring import needs_head


class Similarities(Recalling, Logits):
    """Adds ``weight tau^2 KL(previous || own)`` among the wrong classes to the private loss.

    Uploads logits and cosines of features, ``[samples, classes + samples]``.

    Parameters
    ----------
    weight : float
        At least 0.
    tau : float
        Softmax temperature, > 0.
    """

    kind = "related_logits"

    def __init__(self, weight: float = 1.0, tau: float = 3.0) -> None:
        if not weight >= 0:
            raise ValueError(f"weight={weight} must be at least 0")
        if not tau > 0:
            raise ValueError(f"tau={tau} must be greater than 0")
        self.weight, self.tau = weight, tau

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models without features."""
        return needs_head(models, self.input_shape)

    def term(self, phase: Phase, sight: Sight) -> Loss | None:
        """Return the divergence from the last fit's model; None before there is one."""
        previous = self.recalled(phase, sight, "previous")
        if previous is None or not self.weight:
            return None
        model, heard = previous, torch.zeros(phase.classes, dtype=torch.bool)

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            with torch.no_grad():
                teacher = rows_of(model(sight.x))
            own, silent = rows_of(logits), heard.to(logits.device)
            return self.weight * divergence_among(teacher, own, silent, labels.flatten(), self.tau)

        return loss

    def upload(self, phase: Phase) -> Knowledge:
        """Return logits, and the cosines of all pairs of samples."""
        knowledge, x = super().upload(phase), phase.transfer()[0]
        features = features_of(phase.client.model, x.to(phase.loop.device)).flatten(1).cpu()
        own = F.normalize(features, dim=1)
        return replace(knowledge, values=torch.cat([knowledge.values, own @ own.T], dim=1))
