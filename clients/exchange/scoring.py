"""Knowledge with a score for each sample: how much the client claims to know about it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...knowledge import Knowledge
from ...models.features import features_of, head, headless
from ...tasks.samples import Shape, made_up
from .base import Exchange
from .class_logits import class_means
from .phase import Phase


class Scored(Exchange):
    """Base of exchanges that upload a score beside each transfer sample's knowledge.

    Attributes
    ----------
    lasting : bool
        True where the scores depend on the data alone: a client then computes them once, for the
        whole transfer set, and remembers them as ``scores``.
    """

    scored = True
    lasting: ClassVar[bool] = True

    def scores(self, phase: Phase, x: Tensor) -> Tensor:
        """Return scores ``[samples]``, at least 0, of samples ``[samples, *shape]``."""
        raise NotImplementedError(f"{type(self).__name__} must define scores()")

    def upload(self, phase: Phase) -> Knowledge:
        """Return the knowledge with its scores."""
        knowledge = super().upload(phase)
        if not self.lasting:
            return replace(knowledge, scores=self.scores(phase, phase.transfer()[0]).float())
        tensors = phase.client.tensors
        if "scores" not in tensors:
            tensors["scores"] = self.scores(phase, phase.bench.transfer).float()
        return replace(knowledge, scores=tensors["scores"][knowledge.sample_ids])


def pooled_features(phase: Phase, x: Tensor, dim: int) -> Tensor:
    """Return what the client's model computes before its last layer, ``[samples, dim]``."""
    return features_of(phase.client.model, x.to(phase.loop.device), dim).cpu()


def feature_means(phase: Phase, dim: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the mean features of each of the client's classes, and which classes it has.

    Parameters
    ----------
    phase : Phase
        Whose client's samples and model.
    dim : int or None
        Features of a mean; None = as many as the model has.

    Returns
    -------
    means : Tensor
        ``[classes, dim]``, 0 for a class without samples.
    present : Tensor
        ``[classes]`` bool.
    """
    client = phase.client
    features = pooled_features(phase, client.x, dim or head(client.model).in_features)
    return class_means(features, client.y, phase.classes)


def needs_head(models: Mapping[str, nn.Module], shape: Shape = ()) -> str | None:
    """Say which model has no features, if one has none: a `refusal` of exchanges that use them.

    With the `shape` of a sample, also one that has several a sample: see `headless`.

    Examples
    --------
    >>> needs_head({"flat": nn.Flatten()})
    'works on features, and flat has no linear layer'
    """
    found = headless(models, made_up(shape, 2) if shape else None)
    return found and f"works on features, and {found}"


def seed_from(generator: torch.Generator) -> int:
    """Return a seed for what cannot take a generator, drawn from one.

    Examples
    --------
    >>> seed_from(torch.Generator().manual_seed(0)) == seed_from(torch.Generator().manual_seed(0))
    True
    """
    return int(torch.randint(2**62, (), generator=generator))
