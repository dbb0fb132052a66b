"""Masks: a network of frozen random weights, of which clients learn what to keep."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...knowledge import Knowledge, Target
from ...rng import torch_generator
from .base import Exchange
from .parameters import NO_SAMPLES
from .phase import Phase

LEAST = 1e-6
"""How near to 0 and 1 a client's own probabilities come: their scores must be finite."""


class Masks(Exchange):
    """Uploads a mask drawn from what the client has learnt ``[size]``; is sent probabilities.

    Parameters
    ----------
    seed : int
        Of the frozen weights, the same for all clients.
    gain : float
        How many times larger scores are than what is trained, > 0.
    inference : {"threshold", "mean"}
        Whether models keep what is more probable than not, or every weight times its probability.
    """

    kind = "masks"

    def __init__(
        self,
        seed: int = 0,
        gain: float = 1.0,
        inference: Literal["threshold", "mean"] = "threshold",
    ) -> None:
        if not 0 < gain < math.inf:
            raise ValueError(f"gain={gain} must be greater than 0 and finite")
        self.seed, self.gain, self.inference = seed, gain, inference

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(size,)``: the weights that a mask is about."""
        del samples, classes
        return (sum(parameter.numel() for parameter in maskable(model).values()),)

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models with more to learn or to remember than weights that can be masked."""
        for name, model in models.items():
            if (found := unmaskable(model)) is not None:
                return f"shares masks of frozen weights, and {name} {found}"
        return None

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Train scores in place of weights; the probabilities that they end with are kept."""
        client, own = phase.client, phase.client.model
        theta = client.tensors["theta"].clamp(LEAST, 1 - LEAST)
        net = Masked(own, frozen(own, self.seed), theta.logit(), self.gain, client.generator)
        client.model, client.alone = net, True  # its draws are its own
        try:
            yield
        finally:
            client.model, client.alone = own, False
        self._show(phase, net.theta)

    def upload(self, phase: Phase) -> Knowledge:
        """Return a mask drawn from the client's probabilities."""
        theta = phase.client.tensors["theta"]
        mask = torch.rand(theta.shape, generator=phase.client.generator) < theta
        return Knowledge(phase.index, self.kind, mask.float(), NO_SAMPLES)

    def receive(self, phase: Phase, target: Target) -> None:
        """Start from the server's probabilities."""
        self._show(phase, target.values)

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Take over the server's probabilities."""
        self.receive(phase, target)
        return {}

    def _show(self, phase: Phase, theta: Tensor) -> None:
        """Remember probabilities; have the model be what they make of the frozen weights."""
        phase.client.tensors["theta"] = theta
        kept = theta if self.inference == "mean" else (theta > 0.5).float()
        model = phase.client.model
        weights = frozen(model, self.seed)
        with torch.no_grad():
            for name, value in split(model, weights * kept.to(weights.device)).items():
                model.get_parameter(name).copy_(value)


class Draw(torch.autograd.Function):
    """Masks drawn from scores; the gradient by the probability is p times that by the mask."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, uniform: Tensor) -> Tensor:
        """Return 1 where ``uniform < sigmoid(scores)``, else 0."""
        theta = scores.sigmoid()
        ctx.save_for_backward(theta)
        return (uniform < theta).to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Return ``p * p (1 - p)`` times the gradient."""
        (theta,) = ctx.saved_tensors
        return grads[0] * theta * theta * (1 - theta), None


class Masked(nn.Module):
    """A model with frozen weights, as a client loop trains it: by its scores.

    Parameters
    ----------
    model : nn.Module
        Is not changed.
    weights, scores : Tensor
        ``[size]`` each, of what is `maskable` in it.
    gain : float
        Scores are as many times what is trained.
    generator : torch.Generator
        Draws a mask for every batch.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: Tensor,
        scores: Tensor,
        gain: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.inner = (model,)  # no module of this one: its parameters are not trained
        self.weights, self.gain, self.generator = weights, gain, generator
        self.scores = nn.Parameter(scores.to(weights.device) / gain)

    @property
    def theta(self) -> Tensor:
        """The probabilities ``[size]``, on the CPU."""
        return (self.gain * self.scores.detach()).sigmoid().cpu()

    def train(self, mode: bool = True) -> "Masked":
        """Have the model do as it does in training, too."""
        self.inner[0].train(mode)
        super().train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, *shape]`` to logits ``[batch, classes]``, by a mask drawn for this batch."""
        uniform = torch.rand(self.scores.shape, generator=self.generator).to(self.scores.device)
        mask: Tensor = Draw.apply(self.gain * self.scores, uniform)
        (model,) = self.inner
        logits: Tensor = functional_call(model, split(model, self.weights * mask), (x,))
        return logits


def maskable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of layers that have a matrix, by name: weights, and their biases.

    Examples
    --------
    >>> list(maskable(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))))
    ['0.weight', '0.bias']
    """
    layers = (list(layer.parameters(recurse=False)) for layer in model.modules())
    kept = {id(p) for own in layers if any(p.dim() > 1 for p in own) for p in own}
    return {name: p for name, p in model.named_parameters() if id(p) in kept}


def unmaskable(model: nn.Module) -> str | None:
    """Say what a model has that masks cannot carry; None if nothing.

    Examples
    --------
    >>> unmaskable(nn.BatchNorm1d(2))
    'keeps statistics of batches (running_mean), which masks do not carry'
    >>> unmaskable(nn.LayerNorm(2)) == unmaskable(nn.Linear(2, 2))
    False
    """
    for layer in model.modules():
        if getattr(layer, "running_mean", None) is not None:
            return "keeps statistics of batches (running_mean), which masks do not carry"
    kept = maskable(model)
    for name, parameter in model.named_parameters():
        if name not in kept and len(parameter.unique()) > 1:
            return f"starts {name}, which is no matrix, at random: it cannot be masked"
    return None if kept else "has no matrix of weights to mask"


def frozen(model: nn.Module, seed: int) -> Tensor:
    """Return random weights ``[size]`` for what is `maskable`: plus or minus ``e / sqrt(fan_in)``.

    Examples
    --------
    >>> frozen(nn.Linear(4, 1), 0).abs()  # e / 2
    tensor([1.3591, 1.3591, 1.3591, 1.3591, 1.3591])
    """
    found = maskable(model)
    scales: dict[int, float] = {}
    for layer in model.modules():
        own = list(layer.parameters(recurse=False))
        fans = [p[0].numel() for p in own if p.dim() > 1]
        scales |= {id(p): math.e / math.sqrt(fans[0]) for p in own if fans}
    size = torch.cat([torch.full((p.numel(),), scales[id(p)]) for p in found.values()])
    signs = torch.randint(0, 2, size.shape, generator=torch_generator(seed)) * 2 - 1
    return (size * signs).to(next(model.parameters()).device)


def split(model: nn.Module, vector: Tensor) -> dict[str, Tensor]:
    """Return a vector ``[size]`` as what is `maskable` in a model, by name."""
    found = maskable(model)
    parts = vector.split([parameter.numel() for parameter in found.values()])
    return {n: part.view_as(p) for (n, p), part in zip(found.items(), parts, strict=True)}
