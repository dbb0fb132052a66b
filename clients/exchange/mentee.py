"""A second, small model a client, the same everywhere: it is shared, the client's own model is not.

FML calls it the meme model, FedKD the mentee. The two learn from the private data and from each
other, in one call of the training loop.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial

from torch import Tensor, nn

from ...knowledge import Target
from ...maths.mutual import mutual
from ...models import build
from ...models.flat import flatten, size, unflatten
from ...rng import scoped
from .parameters import Parameters
from .phase import Phase


class Pair(nn.Module):
    """Two models that a client loop trains as if they were one.

    Parameters
    ----------
    own : nn.Module
        The client's model, whose logits the pair returns.
    mentee : nn.Module
        The shared one.

    Attributes
    ----------
    shared : Tensor
        The mentee's logits ``[batch, classes]`` of the latest batch, with gradient.
    """

    shared: Tensor

    def __init__(self, own: nn.Module, mentee: nn.Module) -> None:
        super().__init__()
        self.own, self.mentee = own, mentee

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, *shape]`` to the own model's logits ``[batch, classes]``."""
        self.shared = self.mentee(x)
        logits: Tensor = self.own(x)
        return logits


class Mentee(Parameters):
    """Uploads the mentee's parameters ``[size]``; the two models learn from each other as in FML.

    Parameters
    ----------
    mentee : str
        The shared model, as for ``model=``; auto = mlp, for texts embedding_bag.
    alpha, beta : float
        Share of cross-entropy in the loss of the own model and of the mentee, in [0, 1].
    """

    clip: float | None = None
    """What a batch's gradient of both is clipped to, as `Client.clip`."""

    def __init__(self, mentee: str = "auto", alpha: float = 0.5, beta: float = 0.5) -> None:
        if not 0 <= alpha <= 1 or not 0 <= beta <= 1:
            raise ValueError(f"alpha={alpha} and beta={beta} must be in [0, 1]")
        self.mentee, self.alpha, self.beta = mentee, alpha, beta

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(size,)`` of the mentee, whatever the client's own model."""
        del model, samples
        return (size_of(self.mentee, self.input_shape, classes),)

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Put a pair in place of the client's model; the mentee it ends with is kept."""
        client, own = phase.client, phase.client.model
        pair = self.pair(phase, own)
        client.model, client.extra_loss, client.clip = pair, partial(self.loss, pair), self.clip
        try:
            yield
            self.keep(phase, pair)
        finally:
            client.model, client.extra_loss, client.clip = own, None, None

    def pair(self, phase: Phase, own: nn.Module) -> Pair:
        """Return the client's model with its mentee."""
        mentee = phase.build(self.mentee, "mentee")
        return Pair(own, unflatten(mentee, phase.client.tensors["mentee"]))

    def loss(self, pair: Pair, logits: Tensor, labels: Tensor) -> Tensor:
        """Return what FML adds to the own model's cross-entropy."""
        return mutual(logits, pair.shared, labels, self.alpha, self.beta)

    def keep(self, phase: Phase, pair: Pair) -> None:
        """Remember what a pair has learnt beside the own model."""
        phase.client.tensors["mentee"] = flatten(pair.mentee)

    def vector(self, phase: Phase) -> Tensor:
        """Return the mentee's parameters."""
        return phase.client.tensors["mentee"]

    def receive(self, phase: Phase, target: Target) -> None:
        """Go on with the server's mentee; the own model stays."""
        phase.client.tensors["mentee"] = target.values


@lru_cache(maxsize=16)
def size_of(spec: str, shape: tuple[int, ...], classes: int) -> int:
    """Return how many numbers the parameters and buffers of a model are.

    Examples
    --------
    >>> size_of("auto", (64,), 10)
    15010
    """
    with scoped(0):
        return size(build(spec, shape, classes))
