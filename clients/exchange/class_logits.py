"""Class knowledge of FD: the mean logits of each label, a teacher for private training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...knowledge import Knowledge, Target
from .base import Exchange
from .parameters import NO_SAMPLES
from .phase import Phase


class ClassLogits(Exchange):
    """Uploads mean logits per label; private training then leans towards the others' means.

    Parameters
    ----------
    weight : float
        Weight of the distillation term, >= 0.
    """

    kind = "class_knowledge"
    masked = True

    def __init__(self, weight: float = 1.0) -> None:
        if not weight >= 0:
            raise ValueError(f"weight={weight} must be at least 0")
        self.weight = weight

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(classes, classes)``."""
        del model, samples
        return classes, classes

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Add ``weight * CE(softmax(teacher[y]), p)`` for the classes that have a teacher."""
        tensors, device = phase.client.tensors, phase.loop.device
        if "teacher" in tensors:
            target = tensors["teacher"].to(device).softmax(dim=-1)
            known = tensors["known"].to(device)

            def loss(logits: Tensor, labels: Tensor) -> Tensor:
                each = F.cross_entropy(logits, target[labels], reduction="none")
                return self.weight * (each * known[labels]).mean()

            phase.client.extra_loss = loss
        yield

    def upload(self, phase: Phase) -> Knowledge:
        """Return the mean logits of each label that the client has."""
        client = phase.client
        logits = phase.loop.predict([client], client.x)[0]
        means, present = class_means(logits, client.y, phase.classes)
        return Knowledge(phase.index, self.kind, means, NO_SAMPLES, present)

    def receive(self, phase: Phase, target: Target) -> None:
        """Remember the teacher for this fit and the next."""
        assert target.mask is not None
        phase.client.tensors |= {"teacher": target.values, "known": target.mask}

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Remember the teacher for the next fit."""
        self.receive(phase, target)
        return {}


def class_means(values: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return the mean row of each class, and which classes there are.

    Parameters
    ----------
    values : Tensor
        ``[samples, dim]``.
    labels : Tensor
        ``[samples]`` int64.
    classes : int
        Number of classes.

    Returns
    -------
    means : Tensor
        ``[classes, dim]``, 0 for a class without samples.
    present : Tensor
        ``[classes]`` bool.

    Examples
    --------
    >>> class_means(torch.tensor([[1.0], [3.0]]), torch.tensor([1, 1]), 2)
    (tensor([[0.],
            [2.]]), tensor([False,  True]))
    """
    counts = torch.bincount(labels, minlength=classes)
    sums = torch.zeros(classes, values.shape[1]).index_add_(0, labels, values)
    return sums / counts.clamp_min(1).unsqueeze(1), counts > 0
