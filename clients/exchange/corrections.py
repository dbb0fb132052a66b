"""A fit whose gradient has a correction: base of what SCAFFOLD, FedDyn and FedNova do at clients.

The correction is the gradient of a loss that is linear (or quadratic) in the parameters, so any
loop that adds `fedkd.clients.base.Client.extra_loss` makes it, with momentum as without. Buffers
such as BatchNorm's statistics are no parameters: they travel, and are never corrected.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor

from ...knowledge import Knowledge, Target
from ...models.flat import flatten, floats, trained
from .parameters import NO_SAMPLES, Parameters
from .phase import Phase

PENDING = "pending."
"""What starts the names of tensors that a client has when the server has taken its upload."""

FITTED = "fitted"
"""The tensor that says in which round they were made."""

COUNTED = "counted."
"""What starts the option with the round of a client's last upload, if that was taken unanswered."""


class Corrected(Parameters):
    """Counts steps, adds a `correction`, and keeps what `after` makes of the fit.

    What is kept of a fit is pending until the server answers the upload with its next model: a
    client whose upload was lost goes on with what it had, as the server does. One to whom only the
    answer was lost is told before its next fit, and keeps it then.
    """

    from_model: ClassVar[bool] = False

    def correction(self, phase: Phase) -> tuple[Tensor, float]:
        """Return c ``[size]`` and alpha: ``<c, w> + alpha/2 |w - w_start|^2`` is added."""
        raise NotImplementedError(f"{type(self).__name__} must define correction()")

    def after(self, phase: Phase, moved: Tensor, steps: int) -> dict[str, Tensor]:
        """Return what to keep of a fit that moved the parameters by ``[size]`` in so many steps."""
        raise NotImplementedError(f"{type(self).__name__} must define after()")

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Add the correction; count the steps."""
        client = phase.client
        if phase.options.get(f"{COUNTED}{phase.index}", 0) == client.tensors.get(FITTED):
            self._keep(phase)
        start, own = flatten(client.model), trained(client.model)
        linear, alpha = self.correction(phase)
        pull = Pull(phase, start, linear, alpha)
        client.extra_loss = pull
        try:
            yield
        finally:
            client.extra_loss = None
        moved = torch.where(own, flatten(client.model) - start, 0.0)
        kept = self.after(phase, moved, pull.steps)
        client.tensors |= {PENDING + name: value for name, value in kept.items()}
        client.tensors[FITTED] = torch.tensor(phase.round)

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Keep what is pending, and take over the server's model."""
        self._keep(phase)
        return super().learn(phase, target)

    def _keep(self, phase: Phase) -> None:
        tensors = phase.client.tensors
        for name in [name for name in tensors if name.startswith(PENDING)]:
            tensors[name.removeprefix(PENDING)] = tensors.pop(name)


class Even(Corrected):
    """All clients weigh alike in the server's mean."""

    heaviest = 1.0
    counted = ()

    def extras(self, model: torch.nn.Module, classes: int) -> dict[str, tuple[int, ...]]:
        """Declare nothing."""
        del model, classes
        return {}

    def upload(self, phase: Phase) -> Knowledge:
        """Return what is shared."""
        return Knowledge(phase.index, self.kind, self.vector(phase), NO_SAMPLES)


class Pull:
    """The loss of a correction, ``<c, w> + alpha/2 |w - w_start|^2``, as a loop asks for it.

    Parameters
    ----------
    phase : Phase
        Whose client's parameters w are.
    start, linear : Tensor
        w_start and c ``[size]``, as `flatten` orders a model's numbers; buffers are passed over.
    alpha : float
        At least 0.

    Attributes
    ----------
    steps : int
        How often it was asked for.
    """

    def __init__(self, phase: Phase, start: Tensor, linear: Tensor, alpha: float) -> None:
        model, self.alpha, self.steps = phase.client.model, alpha, 0
        state = floats(model)
        sizes = [value.numel() for value in state.values()]
        known = dict(model.named_parameters()) if alpha or linear.any() else {}
        rows = zip(state, linear.split(sizes), start.split(sizes), strict=True)
        self.parts = [
            (known[name], c.view_as(known[name]).to(known[name]), s.view_as(known[name]))
            for name, c, s in rows
            if name in known
        ]

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; batches do not matter to it."""
        del labels
        self.steps += 1
        total = logits.new_zeros(())
        for parameter, linear, start in self.parts:
            total = total + (linear * parameter).sum()
            if self.alpha:
                away = parameter - start.to(parameter)
                total = total + self.alpha / 2 * away.square().sum()
        return total
