"""FedMRL at the client: a small shared model's features in front of the own's, both read in part.

What the two bodies make of a sample is projected to as many features as the own model has. Its head
reads all of them, that of the shared model the first ones, as many as it is used to.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models import Outputs, build
from ...models.features import head, tapped
from ...models.flat import flatten, unflatten
from ...models.shapes import Shape
from ...tasks.samples import Tokens
from .mentee import Mentee, Pair
from .phase import Phase
from .scoring import needs_head

PROJECTOR = "projector"
"""The tensor of a client that has its projector, ``[size]``."""


def narrow(shape: Shape, outputs: Outputs, *, dim: int) -> nn.Module:
    """Return the quickest model for samples of this shape, with so many features."""
    name, width = ("embedding_bag", "dim") if isinstance(shape, Tokens) else ("mlp", "hidden")
    return build({"name": name, width: dim}, shape, outputs)


def shared_spec(mentee: str, dim: int) -> str | Callable[..., nn.Module]:
    """Return what makes the shared model; auto is one with `dim` features."""
    return partial(narrow, dim=dim) if mentee == "auto" else mentee


class Joined(Pair):
    """A pair of which either's head reads features that are made of both bodies'.

    Parameters
    ----------
    own, mentee : nn.Module
        See `Pair`; d2 and d1 features, d1 <= d2.
    projector : nn.Linear
        P, from d1 + d2 numbers to d2.

    Examples
    --------
    >>> own, mentee, projector = nn.Linear(2, 3), nn.Linear(2, 3), nn.Linear(4, 2, bias=False)
    >>> _ = projector.weight.data.copy_(torch.tensor([[0.0, 0, 1, 0], [0, 0, 0, 1]]))
    >>> x = torch.ones(1, 2)
    >>> torch.equal(Joined(own, mentee, projector)(x), own(x))
    True
    """

    def __init__(self, own: nn.Module, mentee: nn.Module, projector: nn.Linear) -> None:
        super().__init__(own, mentee)
        self.projector = projector

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, *shape]`` to logits ``[batch, classes]`` of the own head."""
        small, large = head(self.mentee), head(self.own)
        with tapped(self.mentee) as shared, tapped(self.own) as own:
            self.mentee(x), self.own(x)
        joined = self.projector(torch.cat([shared.features, own.features], dim=-1))
        if self.training:  # else a loop may work on several clients' models at once
            self.shared = small(joined[..., : small.in_features])
        logits: Tensor = large(joined)
        return logits


class Nested(Mentee):
    """Uploads the shared model's parameters ``[size]``; the own model and the projector stay.

    Parameters
    ----------
    mentee : str
        The shared model, as for ``model=``; auto = mlp, for texts embedding_bag.
    dim : int
        Features of auto, at least 1.
    clip : float
        Largest norm of a batch's gradient, of all that a client trains together, > 0.
    """

    def __init__(self, mentee: str = "auto", dim: int = 50, clip: float = 50.0) -> None:
        if dim < 1:
            raise ValueError(f"dim={dim} must be at least 1")
        if not clip > 0:
            raise ValueError(f"clip={clip} must be above 0 (inf = as it is)")
        super().__init__()
        self.mentee: Any = shared_spec(mentee, dim)
        self.clip = clip

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models without a linear layer."""
        return needs_head(models, self.input_shape)

    def pair(self, phase: Phase, own: nn.Module) -> Joined:
        """Return the client's model with the shared one, and the projector of its own."""
        tensors = phase.client.tensors
        mentee = unflatten(phase.build(self.mentee, "mentee"), tensors["mentee"])
        inner, outer = head(mentee).in_features, head(own).in_features
        projector = phase.build(lambda: nn.Linear(inner + outer, outer), PROJECTOR)
        if PROJECTOR in tensors:
            unflatten(projector, tensors[PROJECTOR])
        assert isinstance(projector, nn.Linear)
        return Joined(own, mentee, projector)

    def loss(self, pair: Pair, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of the shared model's head."""
        del logits
        return F.cross_entropy(pair.shared, labels)

    def keep(self, phase: Phase, pair: Pair) -> None:
        """Remember the shared model and the projector."""
        assert isinstance(pair, Joined)
        super().keep(phase, pair)
        phase.client.tensors[PROJECTOR] = flatten(pair.projector)

    def measuring(self, phase: Phase) -> AbstractContextManager[None]:
        """Have both models stand for the client's, once it has trained both."""
        client = phase.client
        known = PROJECTOR in client.tensors
        return client.standing(self.pair(phase, client.model) if known else client.model)
