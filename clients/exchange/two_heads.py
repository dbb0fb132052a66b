"""FedRoD at the client: a model that is shared, and a second head on its features that is not."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from ...maths.imbalance import log_prior
from ...models.features import head, tapped
from ...models.flat import flatten, size, unflatten
from .parameters import Parameters
from .phase import Phase
from .scoring import needs_head

PERSONAL = "personal"
"""The tensor of a client that has its own head, ``[size]``."""

Measured = Literal["personal", "generic"]
"""What a client is measured with: both heads, or the shared model alone."""


class Branched(nn.Module):
    """A model and a second head on its features.

    Parameters
    ----------
    generic : nn.Module
        The shared model. What the second head learns does not change it.
    personal : nn.Linear
        The second head, of the shape of the first.
    together : bool
        Whether `forward` returns the sum of both heads, or the first's logits.

    Attributes
    ----------
    both : Tensor
        The sum of both heads of the latest batch in training, with the second's gradient alone.
    """

    both: Tensor

    def __init__(self, generic: nn.Module, personal: nn.Linear, together: bool) -> None:
        super().__init__()
        self.generic, self.personal, self.together = generic, personal, together

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, *shape]`` to logits ``[batch, classes]``."""
        with tapped(self.generic) as tap:
            logits: Tensor = self.generic(x)
        both = logits.detach() + self.personal(tap.features.detach())
        if self.training:  # else a loop may work on several clients' models at once
            self.both = both
        return both if self.together else logits


class TwoHeads(Parameters):
    """Uploads the model ``[size]``, trained with balanced softmax; the second head learns beside.

    Parameters
    ----------
    gamma : float
        Weight of the logarithm of a class's samples in the shared model's loss, at least 0.
    measured : {"personal", "generic"}
        Whether both heads are measured, or the shared model alone.
    """

    from_model = False  # the second head learns beside the model, by a loss of its own

    def __init__(self, gamma: float = 1.0, measured: Measured = "personal") -> None:
        if not gamma >= 0:
            raise ValueError(f"gamma={gamma} must be at least 0")
        self.gamma, self.measured = gamma, measured

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models without a linear layer."""
        return needs_head(models, self.input_shape)

    def branched(self, phase: Phase, together: bool) -> Branched:
        """Return the client's model with its second head, which begins with zeros."""
        model, known = phase.client.model, phase.client.tensors.get(PERSONAL)
        own = copy.deepcopy(head(model))
        unflatten(own, torch.zeros(size(own)) if known is None else known)
        return Branched(model, own, together)

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Put both heads in place of the client's model; the second is kept."""
        client = phase.client
        counts = torch.bincount(client.y.cpu(), minlength=phase.classes)
        model = self.branched(phase, together=False)
        if self.gamma:  # 0 times the -inf of a class without samples is no number
            client.log_prior = self.gamma * log_prior(counts).to(phase.loop.device)
        client.extra_loss = lambda logits, labels: client.loss(model.both, labels)
        try:
            with client.standing(model):
                yield
            client.tensors[PERSONAL] = flatten(model.personal)
        finally:
            client.log_prior, client.extra_loss = None, None

    def measuring(self, phase: Phase) -> AbstractContextManager[None]:
        """Have both heads stand for the model, where they shall be measured."""
        client = phase.client
        both = self.measured == "personal" and PERSONAL in client.tensors
        return client.standing(self.branched(phase, together=True) if both else client.model)
