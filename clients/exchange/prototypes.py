"""Prototypes: the mean features of each class, to which private training draws near."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ...knowledge import Knowledge, Target
from ...models.features import pooled, tapped
from ...secure.summing import HEAVIEST
from .base import Exchange
from .parameters import NO_SAMPLES
from .phase import Phase
from .scoring import feature_means, needs_head, pooled_features

NEVER = torch.finfo(torch.float32).min
"""The logit of a class without a prototype."""


class Prototypes(Exchange):
    """Uploads class means of features; private training and inference use those of the server.

    Parameters
    ----------
    weight : float
        Weight of the distance to the prototypes, >= 0.
    dim : int
        Features of a prototype, at least 1; models of another width are averaged to it.
    counts : bool
        Whether to upload as well how many samples each class has.
    nearest : bool
        Whether to classify by the nearest prototype rather than by the model's last layer.
    """

    kind = "class_knowledge"
    masked = True
    counted = ("counts",)

    def __init__(
        self, weight: float = 1.0, dim: int = 64, counts: bool = False, nearest: bool = True
    ) -> None:
        if not weight >= 0:
            raise ValueError(f"weight={weight} must be at least 0")
        if dim < 1:
            raise ValueError(f"dim={dim} must be at least 1")
        self.weight, self.dim, self.counts, self.nearest = weight, dim, counts, nearest
        self.heaviest = HEAVIEST if counts else 1.0

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(classes, dim)``."""
        del model, samples
        return classes, self.dim

    def extras(self, model: nn.Module, classes: int) -> dict[str, tuple[int, ...]]:
        """Declare ``counts`` ``[classes]``, where they are uploaded."""
        del model
        return {"counts": (classes,)} if self.counts else {}

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models without a linear layer."""
        return needs_head(models, self.input_shape)

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Add ``weight * MSE(h(x), P[y])``, 0 for classes without a prototype."""
        client, device = phase.client, phase.loop.device
        if "teacher" not in client.tensors:
            yield
            return
        prototypes, known = (client.tensors[name].to(device) for name in ("teacher", "known"))
        with tapped(client.model) as tap:

            def loss(logits: Tensor, labels: Tensor) -> Tensor:
                del logits
                features = pooled(tap.features, self.dim)
                return self.weight * distance(features, prototypes, known, labels)

            client.extra_loss = loss
            yield

    def weights_of(self, knowledge: Knowledge) -> Tensor | None:
        """Return the samples of each class, where they count, or which classes there are."""
        return knowledge.extras.get("counts", knowledge.mask)

    def upload(self, phase: Phase) -> Knowledge:
        """Return the mean features of each class that the client has."""
        client = phase.client
        means, present = feature_means(phase, self.dim)
        counts = torch.bincount(client.y, minlength=phase.classes).float()
        extras = {"counts": counts} if self.counts else {}
        return Knowledge(phase.index, self.kind, means, NO_SAMPLES, present, extras=extras)

    def receive(self, phase: Phase, target: Target) -> None:
        """Remember the prototypes for this fit and the next, and for inference."""
        assert target.mask is not None
        phase.client.tensors |= {"teacher": target.values, "known": target.mask}

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Remember the prototypes for the next fit, and for inference."""
        self.receive(phase, target)
        return {}

    def predict(self, phase: Phase, x: Tensor) -> Tensor:
        """Return ``-||h(x) - P[c]||^2``; before there are prototypes, the model's own logits."""
        tensors = phase.client.tensors
        if not self.nearest or "teacher" not in tensors or not tensors["known"].any():
            return super().predict(phase, x)
        features = pooled_features(phase, x, self.dim)
        squares = torch.cdist(features, tensors["teacher"]).square()
        return torch.where(tensors["known"], -squares, NEVER)


def distance(features: Tensor, prototypes: Tensor, known: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared distance of a batch from its classes' prototypes, a scalar.

    Parameters
    ----------
    features : Tensor
        ``[batch, dim]``.
    prototypes : Tensor
        ``[classes, dim]``.
    known : Tensor
        ``[classes]`` bool; samples of other classes count as being where they should be.
    labels : Tensor
        ``[batch]`` int64.

    Examples
    --------
    >>> features, known = torch.tensor([[1.0, 3.0], [9.0, 9.0]]), torch.tensor([True, False])
    >>> distance(features, torch.zeros(2, 2), known, torch.tensor([0, 1]))  # (1 + 9) / 2 / 2
    tensor(2.5000)
    """
    squares = (features - prototypes[labels]).square().mean(dim=1)
    return (squares * known[labels]).mean()
