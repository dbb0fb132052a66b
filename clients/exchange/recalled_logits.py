"""Logits of a client that does not forget what it knew after earlier fits: FCCL's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.flat import flatten, unflatten
from ...tasks.rows import rows_of
from .logits import Logits
from .phase import Phase
from .received import Added, Loss, Sight, frozen


class Recalling(Added):
    """Base of exchanges whose private loss looks at models that earlier fits ended with.

    Attributes
    ----------
    KEEPS : tuple of str
        Of which fits: ``previous``, ``first``; those tensors ``[size]`` the client keeps.
    """

    KEEPS: ClassVar[tuple[str, ...]] = ("previous",)

    def recalled(self, phase: Phase, sight: Sight, name: str) -> nn.Module | None:
        """Return a model as it was, frozen; None before the first fit."""
        kept = phase.client.tensors.get(name)
        return None if kept is None else unflatten(frozen(sight.received), kept)

    def fitted(self, phase: Phase) -> None:
        """Keep the model."""
        tensors, model = phase.client.tensors, flatten(phase.client.model)
        for name in self.KEEPS:
            if name == "previous" or name not in tensors:
                tensors[name] = model


class RecalledLogits(Recalling, Logits):
    """Adds ``KL(earlier || own)`` on private samples, for the first and the previous fit's model.

    Parameters
    ----------
    first, previous : float
        Weights, >= 0.
    pretraining : int
        Epochs of the first fit, at least 1.
    """

    KEEPS = ("previous", "first")

    def __init__(self, first: float = 1.0, previous: float = 1.0, pretraining: int = 20) -> None:
        if pretraining < 1:
            raise ValueError(f"pretraining={pretraining} must be at least 1")
        self.pretraining = pretraining
        self.weight = {"first": first, "previous": previous}
        for name, value in self.weight.items():
            if not value >= 0:
                raise ValueError(f"{name}={value} must be at least 0")

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Let the first fit last longer."""
        if "first" not in phase.client.tensors:
            phase.client.epochs = self.pretraining
        try:
            with super().fitting(phase):
                yield
        finally:
            phase.client.epochs = None

    def term(self, phase: Phase, sight: Sight) -> Loss | None:
        """Return the divergences from earlier models; None before there is one."""
        found = {name: self.recalled(phase, sight, name) for name, w in self.weight.items() if w}
        models = {name: model for name, model in found.items() if model is not None}

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            del labels
            own = rows_of(logits).log_softmax(dim=-1)
            terms = [self.weight[n] * forgotten(sight.x, m, own) for n, m in models.items()]
            return torch.stack(terms).sum()

        return loss if models else None


@torch.no_grad()
def _earlier(model: nn.Module, x: Tensor) -> Tensor:
    return rows_of(model(x)).log_softmax(dim=-1)


def forgotten(x: Tensor, earlier: nn.Module, own: Tensor) -> Tensor:
    """Return ``KL(earlier || own)`` in nats, a mean over rows; `own` are log-probabilities.

    Examples
    --------
    >>> forgotten(torch.zeros(1, 2), nn.Identity(), torch.tensor([[0.8, 0.2]]).log())
    tensor(0.2231)
    """
    return F.kl_div(own, _earlier(earlier, x), reduction="batchmean", log_target=True)
