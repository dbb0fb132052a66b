"""FedDistill+ at a client: the model, and beside it the mean logits of each label."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from ...knowledge import Target
from ...models.flat import flatten, size, unflatten
from .class_logits import ClassLogits, class_means
from .parameters import Parameters
from .phase import Phase


class LogitsBeside(Parameters):
    """Uploads ``[size + classes * classes + classes]``: model, mean logits, and which there are.

    The teacher has the same parts. Private training leans towards its means as in FD.

    Parameters
    ----------
    weight : float
        Weight of the distillation term, >= 0.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.leaning = ClassLogits(weight)

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return the length of all parts."""
        del samples
        return (size(model) + classes * (classes + 1),)

    def fitting(self, phase: Phase) -> AbstractContextManager[None]:
        """Add ``weight * CE(softmax(teacher[y]), p)`` for the classes that have a teacher."""
        return self.leaning.fitting(phase)

    def vector(self, phase: Phase) -> Tensor:
        """Return the model, the mean logits of each label and, as 0 and 1, who has samples."""
        client = phase.client
        logits = phase.loop.predict([client], client.x)[0]
        means, present = class_means(logits, client.y, phase.classes)
        return torch.cat([flatten(client.model), means.flatten(), present.float()])

    def receive(self, phase: Phase, target: Target) -> None:
        """Start from the server's model; remember its mean logits for this fit and the next."""
        client, classes = phase.client, phase.classes
        parts = [size(client.model), classes * classes, classes]
        model, means, known = target.values.split(parts)
        unflatten(client.model, model)
        client.tensors |= {"teacher": means.view(classes, classes).clone(), "known": known > HALF}


HALF = 0.5
"""Between 0 and 1, which a codec may have moved a little."""
