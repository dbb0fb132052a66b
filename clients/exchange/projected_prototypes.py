"""Prototypes of projected features, and a contrast with those of all clients: FedPCL."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...knowledge import Knowledge, Target
from ...maths.contrast import contrast
from ...models.features import head, tapped
from ...models.flat import flatten, unflatten
from ..augment import flip_crop
from .base import Exchange
from .class_logits import class_means
from .parameters import NO_SAMPLES
from .phase import Phase
from .prototypes import NEVER
from .scoring import needs_head

ROWS, HAS = "sets", "sets_has"
"""What comes beside the mean: all clients' prototypes ``[rows, dim]``, and whose they are."""

PROJECTION, OWN, OWNED = "projection", "own", "owned"


class Projected(nn.Module):
    """What a model's head is fed, by a linear layer made vectors of unit length.

    Parameters
    ----------
    body : nn.Module
        The model.
    projection : nn.Module
        ``[batch, features]`` to ``[batch, dim]``.
    frozen : bool
        Whether the body stays as it is.
    view : callable
        Makes another view of a batch, in training.

    Attributes
    ----------
    views : Tensor
        ``[2 * batch, dim]`` of the latest batch in training and its other view.
    """

    views: Tensor

    def __init__(
        self,
        body: nn.Module,
        projection: nn.Module,
        frozen: bool,
        view: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.body, self.projection, self.frozen, self.view = body, projection, frozen, view

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, *shape]`` to ``[batch, dim]``."""
        features = self.projected(x)
        if self.training:
            other = features if self.view is None else self.projected(self.view(x))
            self.views = torch.cat([features, other])
        return features

    def projected(self, x: Tensor) -> Tensor:
        """Return unit vectors."""
        self.body.train(self.training and not self.frozen)
        with (
            tapped(self.body) as tap,
            torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen),
        ):
            self.body(x)
        return F.normalize(self.projection(tap.features), dim=-1)


class ProjectedPrototypes(Exchange):
    """Uploads class means of projected features; those of all clients come back.

    A fit is a contrast of features with them alone: there is no cross-entropy. Classes are told by
    the nearest own prototype.

    Parameters
    ----------
    tau : float
        Temperature of the contrast, > 0.
    dim : int
        Numbers of a projected feature, at least 1.
    frozen : bool
        Whether the projection alone is trained.
    """

    kind = "class_knowledge"
    masked = True

    def __init__(self, tau: float = 0.07, dim: int = 256, frozen: bool = False) -> None:
        if not tau > 0:
            raise ValueError(f"tau={tau} must be greater than 0")
        if dim < 1:
            raise ValueError(f"dim={dim} must be at least 1")
        self.tau, self.dim, self.frozen = tau, dim, frozen

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(classes, dim)``."""
        del model, samples
        return classes, self.dim

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models without a linear layer."""
        return needs_head(models, self.input_shape)

    def projected(self, phase: Phase) -> Projected:
        """Return the client's model with its projection."""
        client = phase.client
        width = head(client.model).in_features
        layer = phase.build(lambda: nn.Linear(width, self.dim), PROJECTION)
        if PROJECTION in client.tensors:
            unflatten(layer, client.tensors[PROJECTION])
        augments = phase.loop.fit_config.get("augment")
        view = partial(flip_crop, generator=client.generator) if augments else None
        return Projected(client.model, layer, self.frozen, view)

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Have the projected features stand for the model, and the contrast for its loss."""
        client, model, own = phase.client, self.projected(phase), phase.client.loss
        sets, known = (one.to(phase.loop.device) for one in self.anchors(phase, model))

        def loss(outputs: Tensor, labels: Tensor) -> Tensor:
            del outputs
            labels = labels.repeat(2)
            return contrast(model.views, labels, sets[:, labels], known[labels], self.tau)

        client.loss, client.extra_loss = lambda outputs, labels: outputs.sum() * 0, loss
        try:
            with client.standing(model):
                yield
            client.tensors[PROJECTION] = flatten(model.projection)
        finally:
            client.loss, client.extra_loss = own, None

    def anchors(self, phase: Phase, model: Projected) -> tuple[Tensor, Tensor]:
        """Return sets of prototypes ``[sets, classes, dim]``, and for which classes there are any.

        A client's own are the only set before there are others.
        """
        tensors = phase.client.tensors
        if "teacher" not in tensors:
            means, present = self.means(phase, model)
            return means.unsqueeze(0), present
        has = tensors[HAS].bool()
        sets = tensors["teacher"].expand(len(has), -1, -1).clone()
        sets[has] = tensors[ROWS]
        return sets, tensors["known"]

    def means(self, phase: Phase, model: Projected) -> tuple[Tensor, Tensor]:
        """Return the client's prototypes, and which classes it has."""
        client = phase.client
        with client.standing(model):
            return class_means(phase.loop.predict([client], client.x)[0], client.y, phase.classes)

    def upload(self, phase: Phase) -> Knowledge:
        """Return the client's prototypes, which it keeps as well."""
        means, present = self.means(phase, self.projected(phase))
        phase.client.tensors |= {OWN: means, OWNED: present}
        return Knowledge(phase.index, self.kind, means, NO_SAMPLES, present)

    def receive(self, phase: Phase, target: Target) -> None:
        """Remember the prototypes for this fit and the next."""
        assert target.mask is not None
        own = {"teacher": target.values, "known": target.mask}
        phase.client.tensors |= {**own, **target.extras}

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Remember the prototypes for the next fit."""
        self.receive(phase, target)
        return {}

    def predict(self, phase: Phase, x: Tensor) -> Tensor:
        """Return ``-||f(x) - own prototype||^2``; before there are any, the model's own logits."""
        client = phase.client
        if OWN not in client.tensors:
            return super().predict(phase, x)
        with client.standing(self.projected(phase)):
            features = phase.loop.predict([client], x)[0]
        squares = torch.cdist(features, client.tensors[OWN]).square()
        return torch.where(client.tensors[OWNED], -squares, NEVER)
