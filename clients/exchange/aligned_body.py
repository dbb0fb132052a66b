"""A body whose features draw near common prototypes, below a head that is mixed: FedPAC."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...knowledge import Knowledge, Target
from ...models.features import head, tapped
from ...models.flat import flatten, size, unflatten
from .class_logits import class_means
from .head_then_body import HeadThenBody
from .phase import Phase
from .prototypes import distance
from .scoring import feature_means, pooled_features

PROTOTYPES, KNOWN = "prototypes", "known"
"""What comes beside a model: prototypes ``[classes, dim]``, and which there are ``[classes]``."""


class AlignedBody(HeadThenBody):
    """Uploads the model, class means and moments of features; a body and prototypes come back.

    With its answer a client that took part gets a head of its own, too; who was away keeps its
    head.

    Parameters
    ----------
    lam : float
        Weight of the distance to the prototypes while the body is trained, >= 0.
    head_epochs : int
        The first epochs of the fit, at least 1, which are the head's; those after are the body's.
    **base
        See `Body`.
    """

    counted = ("samples", "counts")
    signed = ("prototypes", "moments")

    def __init__(self, lam: float = 1.0, head_epochs: int = 1, **base: Any) -> None:
        super().__init__(**base)
        if not lam >= 0:
            raise ValueError(f"lam={lam} must be at least 0")
        if head_epochs < 1:
            raise ValueError(f"head_epochs={head_epochs} must be at least 1")
        self.lam, self.head_epochs = lam, head_epochs

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(size,)`` of the whole model."""
        del samples, classes
        return (size(model),)

    def extras(self, model: nn.Module, classes: int) -> dict[str, tuple[int, ...]]:
        """Declare samples of each class, class means, and `moments` before the fit."""
        rows = classes, head(model).in_features
        shapes = {"counts": (classes,), "prototypes": rows, "variance": (1,), "moments": rows}
        return super().extras(model, classes) | shapes

    def turns(self, total: int) -> tuple[int, int]:
        """Return the head's epochs, and the body's."""
        return self.head_epochs, total - self.head_epochs

    def fit(self, phase: Phase) -> dict[str, float]:
        """Look at the features of the body as it came; train the head, then the body."""
        phase.client.tensors |= self.moments(phase)
        return super().fit(phase)

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Add ``lam * MSE(f(x), P[y])``, 0 for classes without a prototype."""
        client, device = phase.client, phase.loop.device
        if PROTOTYPES not in client.tensors:
            yield
            return
        prototypes = client.tensors[PROTOTYPES].to(device)
        known = client.tensors[KNOWN].bool().to(device)
        with tapped(client.model) as tap:

            def loss(logits: Tensor, labels: Tensor) -> Tensor:
                del logits
                return self.lam * distance(tap.features, prototypes, known, labels)

            client.extra_loss = loss
            yield

    def moments(self, phase: Phase) -> dict[str, Tensor]:
        """Return what the server mixes heads by, as the model is."""
        client = phase.client
        features = pooled_features(phase, client.x, head(client.model).in_features)
        variance, moments = spread(features, client.y, phase.classes)
        return {"variance": variance.reshape(1), "moments": moments}

    def vector(self, phase: Phase) -> Tensor:
        """Return the whole model ``[size]``."""
        return flatten(phase.client.model)

    def upload(self, phase: Phase) -> Knowledge:
        """Return the model, class means of its features, and moments of those before the fit."""
        knowledge, client = super().upload(phase), phase.client
        if "moments" not in client.tensors:  # a hostile client's, which has not fitted
            client.tensors |= self.moments(phase)
        extras = {name: client.tensors.pop(name) for name in ("variance", "moments")}
        extras["counts"] = torch.bincount(client.y, minlength=phase.classes).float()
        extras["prototypes"] = feature_means(phase)[0]
        return replace(knowledge, extras={**knowledge.extras, **extras})

    def receive(self, phase: Phase, target: Target) -> None:
        """Take over the server's body, the first time with a head; remember the prototypes."""
        super().receive(phase, target)
        phase.client.tensors |= target.extras

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Take over a body and a head; remember the prototypes."""
        unflatten(phase.client.model, target.values)
        phase.client.tensors |= target.extras
        return {}


def spread(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return FedPAC's v and H of a client's features.

    ``v = (sum_c p_c E_c |f|^2 - sum_c p_c^2 |mu_c|^2) / n`` and ``H[c] = p_c mu_c``, p_c the share
    of class c among n samples, E_c and mu_c means over it.

    Parameters
    ----------
    features, labels : Tensor
        ``[n, dim]`` and ``[n]`` int64.
    classes : int
        Number of classes.

    Returns
    -------
    variance : Tensor
        v, a scalar, at least 0.
    moments : Tensor
        H ``[classes, dim]``.

    Examples
    --------
    >>> spread(torch.tensor([[1.0], [3.0], [4.0], [4.0]]), torch.tensor([0, 0, 1, 1]), 2)
    (tensor(1.3750), tensor([[1.],
            [2.]]))
    """
    share = torch.bincount(labels, minlength=classes).float().unsqueeze(1) / max(len(labels), 1)
    squares = class_means(features.square().sum(dim=1, keepdim=True), labels, classes)[0]
    moments = share * class_means(features, labels, classes)[0]
    variance = (share * squares).sum() - moments.square().sum()
    return variance.clamp_min(0) / max(len(labels), 1), moments
