"""FedGen at a client: the model goes up, and a generator of features comes beside the server's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...knowledge import Knowledge, Target
from ...maths.mutual import divergence_from
from ...models.features import head
from ...models.flat import unflatten
from ...models.generator import Generator
from ...rng import torch_generator
from .parameters import Parameters
from .phase import Phase
from .received import needs_top
from .scoring import seed_from

GENERATOR = "generator"
"""What comes beside the model, and a client's tensor that has it: the generator's parameters."""

LABELS, SAME = "generated-labels", "generated-same"
"""Options of a fit: weights of the two terms."""


class Generated(Parameters):
    """Uploads the model and how often each label occurs; learns from what a generator makes.

    Beside the server's model comes its generator, once that has learnt.

    Parameters
    ----------
    noise, hidden : int
        Numbers of noise and width of the generator's hidden layer, at least 1.
    """

    counted = ("samples", "counts")

    def __init__(self, noise: int = 32, hidden: int = 256) -> None:
        if noise < 1 or hidden < 1:
            raise ValueError(f"noise={noise} and hidden={hidden} must be at least 1")
        self.noise, self.hidden = noise, hidden

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models whose last linear layer is not the last thing they do."""
        return needs_top(models, self.input_shape)

    def extras(self, model: nn.Module, classes: int) -> dict[str, tuple[int, ...]]:
        """Declare ``samples`` ``[1]`` and ``counts`` ``[classes]``."""
        return super().extras(model, classes) | {"counts": (classes,)}

    def upload(self, phase: Phase) -> Knowledge:
        """Return the model, and how often each label occurs."""
        knowledge = super().upload(phase)
        counts = torch.bincount(phase.client.y, minlength=phase.classes).float()
        return replace(knowledge, extras={**knowledge.extras, "counts": counts})

    def receive(self, phase: Phase, target: Target) -> None:
        """Start from the server's model; remember its generator for this fit and the next."""
        super().receive(phase, target)
        phase.client.tensors |= target.extras

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Add ``a CE(h(G(y~)), y~) + b KL( softmax h(G(y)) || p )``, y~ any labels."""
        client, options = phase.client, phase.options
        weights = float(options[LABELS]), float(options[SAME])
        if GENERATOR in client.tensors and any(weights):
            generator = self.generator(phase)
            stream = torch_generator(seed_from(client.generator))

            def loss(logits: Tensor, labels: Tensor) -> Tensor:
                drawn = torch.randint(phase.classes, labels.shape, generator=stream)
                return regulariser(generator, client.model, logits, labels, drawn, weights, stream)

            client.extra_loss = loss
        try:
            yield
        finally:
            client.extra_loss = None

    def generator(self, phase: Phase) -> Generator:
        """Return the client's generator: in evaluation mode, without gradients of its own."""
        dim = head(phase.client.model).in_features
        made = Generator(phase.classes, dim, self.noise, self.hidden)
        unflatten(made, phase.client.tensors[GENERATOR])
        return made.to(phase.loop.device).eval().requires_grad_(False)


def regulariser(
    generator: Generator,
    model: nn.Module,
    logits: Tensor,
    labels: Tensor,
    drawn: Tensor,
    weights: tuple[float, float],
    stream: torch.Generator,
) -> Tensor:
    """Return ``a CE(h(G(drawn)), drawn) + b KL( softmax h(G(labels)) || softmax(logits) )``.

    Parameters
    ----------
    generator : Generator
        G.
    model : nn.Module
        Whose head h is; the first term trains it, in the second it is a teacher without gradient.
    logits, labels : Tensor
        ``[batch, classes]`` and ``[batch]``.
    drawn : Tensor
        ``[any]`` int64.
    weights : tuple of float
        a and b.
    stream : torch.Generator
        Draws the noise.
    """
    above, drawn = head(model), drawn.to(labels.device)
    right = F.cross_entropy(above(generator.drawn(drawn, stream)), drawn)
    with torch.no_grad():
        target = above(generator.drawn(labels, stream))
    return weights[0] * right + weights[1] * divergence_from(target, logits)
