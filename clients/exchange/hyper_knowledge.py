"""Hyper-knowledge of FedHKD: mean features and mean soft predictions of each class."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...knowledge import Knowledge
from ...models.features import head, pooled, tapped
from .class_logits import class_means
from .parameters import NO_SAMPLES
from .phase import Phase
from .prototypes import Prototypes, distance
from .scoring import pooled_features


class HyperKnowledge(Prototypes):
    """Uploads noisy class means of features beside mean soft predictions, ``[classes, dim + C]``.

    Parameters
    ----------
    predictions, features : float
        Weights of the two terms of the private loss, >= 0.
    std : float
        Standard deviation of the noise on the mean features, >= 0.
    softness : float
        Softmax temperature of the soft predictions, > 0.
    match : {"l2", "kl"}
        How the head's answers to the mean features are compared with the mean predictions.
    dim : int
        Mean features of a class, at least 1.
    """

    def __init__(
        self,
        predictions: float = 0.05,
        features: float = 0.05,
        std: float = 2.0,
        softness: float = 0.5,
        match: Literal["l2", "kl"] = "l2",
        dim: int = 64,
    ) -> None:
        for name, value in {"predictions": predictions, "features": features, "std": std}.items():
            if not value >= 0:
                raise ValueError(f"{name}={value} must be at least 0")
        if not softness > 0:
            raise ValueError(f"softness={softness} must be greater than 0")
        super().__init__(features, dim, nearest=False)
        self.predictions, self.std, self.softness, self.match = predictions, std, softness, match

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(classes, dim + classes)``."""
        del model, samples
        return classes, self.dim + classes

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Add ``predictions * gap(head(H), Q) + features * MSE(h(x), H[y])``."""
        client, device = phase.client, phase.loop.device
        if "teacher" not in client.tensors:
            yield
            return
        teacher, known = (client.tensors[name].to(device) for name in ("teacher", "known"))
        means, soft = teacher[:, : self.dim], teacher[:, self.dim :]
        last = head(client.model)
        with tapped(client.model) as tap:

            def loss(logits: Tensor, labels: Tensor) -> Tensor:
                del logits
                answers = F.linear(pooled(means[known], last.in_features), last.weight, last.bias)
                gap = prediction_gap(answers / self.softness, soft[known], self.match)
                near = distance(pooled(tap.features, self.dim), means, known, labels)
                return self.predictions * gap + self.weight * near

            client.extra_loss = loss if known.any() else None
            yield

    def upload(self, phase: Phase) -> Knowledge:
        """Return mean features with noise, and mean soft predictions."""
        client = phase.client
        logits = phase.loop.predict([client], client.x)[0]
        features = pooled_features(phase, client.x, self.dim)
        both = torch.cat([features, (logits / self.softness).softmax(dim=-1)], dim=1)
        means, present = class_means(both, client.y, phase.classes)
        noise = torch.randn(phase.classes, self.dim, generator=client.generator)  # each its own
        means[:, : self.dim] += self.std * noise
        means = torch.where(present.unsqueeze(1), means, 0.0)
        return Knowledge(phase.index, self.kind, means, NO_SAMPLES, present)


def prediction_gap(logits: Tensor, target: Tensor, match: str) -> Tensor:
    """Return the mean distance of ``softmax(logits)`` from soft predictions, a scalar.

    Parameters
    ----------
    logits, target : Tensor
        ``[n, classes]``, n at least 1.
    match : {"l2", "kl"}
        Euclidean distance, or ``KL(target || softmax(logits))`` in nats.

    Examples
    --------
    >>> logits, target = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    >>> prediction_gap(logits, target, "l2"), prediction_gap(logits, target, "kl")
    (tensor(0.7071), tensor(0.6931))
    """
    if match == "kl":
        return F.kl_div(logits.log_softmax(dim=-1), target, reduction="batchmean")
    squares = (logits.softmax(dim=-1) - target).square().sum(dim=-1)
    # The root of 0 has no finite gradient.
    return squares.clamp_min(1e-12).sqrt().mean()
