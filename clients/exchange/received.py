"""A term beside a client's own loss that looks at the batch, and at models that stay as they are.

`LocalLoss` is the base of what FedNTD, FedLMD, MOON and Song's FedDistill do at the client. They
exchange whole models as FedAvg does, and Flower's FedAvg is their server. `Added` is for whoever
exchanges something else. The model is copied when the fit begins (of `LocalLoss`, it is the one
that the server sent), and the copy stays as it is: in evaluation mode (no dropout; BatchNorm by its
running statistics), without gradients of its own.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...models.features import Tap, head, tapped
from ...tasks.samples import Shape, made_up
from .base import Exchange
from .parameters import Parameters
from .phase import Phase
from .scoring import needs_head

Loss = Callable[[Tensor, Tensor], Tensor]
"""``(logits [batch, ...], labels [batch, ...]) -> loss``, what is added on a private batch."""


class Sight:
    """What there is to see in a fit: the client's model, the batch at hand, frozen models.

    Parameters
    ----------
    model : nn.Module
        The client's, as the fit begins.

    Attributes
    ----------
    x : Tensor
        ``[batch, *shape]``, what the client's model was given last.
    received : nn.Module
        The model that the fit began with, frozen.
    """

    x: Tensor

    def __init__(self, model: nn.Module) -> None:
        self.model, self.received = model, frozen(model)

    @property
    def features(self) -> Tensor:
        """``[batch, ..., dim]``, what the client's model made of it before its head."""
        return self._tap.features

    @contextmanager
    def watching(self, features: bool) -> Iterator[None]:
        """Note each batch that the client's model is given, and perhaps its features."""

        def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            del module
            self.x = inputs[0]

        handle = self.model.register_forward_pre_hook(note)
        try:
            with tapped(self.model) if features else nullcontext(Tap()) as self._tap:
                yield
        finally:
            handle.remove()


class Added(Exchange):
    """Base of exchanges that add a `term` to the loss on private data.

    Attributes
    ----------
    on_features : bool
        Whether the term looks at features: models then need a head.
    """

    on_features: ClassVar[bool] = False
    from_model: ClassVar[bool] = False

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models without features, where there must be such."""
        return needs_head(models, self.input_shape) if self.on_features else None

    def term(self, phase: Phase, sight: Sight) -> Loss | None:
        """Return what to add to the loss in this fit; None = nothing."""
        raise NotImplementedError(f"{type(self).__name__} must define term()")

    def fitted(self, phase: Phase) -> None:
        """Note what the next fit needs of this one."""

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Add the term."""
        client = phase.client
        sight = Sight(client.model)
        with sight.watching(self.on_features):
            client.extra_loss = self.term(phase, sight)
            try:
                yield
            finally:
                client.extra_loss = None
        self.fitted(phase)


class LocalLoss(Added, Parameters):
    """Uploads the model, as `Parameters`; a `term` is added to its loss on private data."""


def frozen(model: nn.Module) -> nn.Module:
    """Return a copy of a model that stays as it is: in evaluation mode, and without gradients.

    Examples
    --------
    >>> copied = frozen(nn.Linear(2, 1))
    >>> copied.training, copied.weight.requires_grad
    (False, False)
    """
    return copy.deepcopy(model).eval().requires_grad_(False)


@torch.no_grad()
def look(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a frozen model's features and logits ``[batch, ...]``.

    Examples
    --------
    >>> model = frozen(nn.Sequential(nn.ReLU(), nn.Linear(2, 3)))
    >>> [part.tolist()[0][:2] for part in look(model, torch.tensor([[-1.0, 2.0]]))][0]
    [0.0, 2.0]
    """
    with tapped(model) as tap:
        logits: Tensor = model(x)
    return tap.features, logits


def tops(model: nn.Module, shape: Shape) -> bool:
    """Tell whether a model's head makes its logits: whether it is the last thing that it does.

    Parameters
    ----------
    model : nn.Module
        One that has a head.
    shape : tuple of int
        Shape of a sample.

    Examples
    --------
    >>> tops(nn.Linear(2, 3), (2,)), tops(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), (2,))
    (True, False)
    """
    model = frozen(model)
    features, logits = look(model, made_up(shape, 2))
    return torch.equal(head(model)(features), logits)


def needs_top(models: Mapping[str, nn.Module], shape: Shape) -> str | None:
    """Say which model's head does not make its logits: a `refusal` where heads stand alone.

    Parameters
    ----------
    models : mapping
        Name -> an instance.
    shape : tuple of int
        Of one sample.
    """
    problem = needs_head(models, shape)
    for name, model in models.items() if problem is None else ():
        if not tops(model, shape):
            why = "which is not the last thing it computes"
            return f"exchanges heads, a model's last linear layer, {why} in {name}"
    return problem
