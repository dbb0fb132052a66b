"""What a client loop is. Subclass `ClientLoop` to train clients your own way."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..distillation.base import Objective, Target


@dataclass
class Client:
    """One client, as a loop sees it during one phase.

    Parameters
    ----------
    index : int
        Partition id.
    model : nn.Module
        Its model; changed in place by `ClientLoop.fit` and `ClientLoop.distil`.
    x, y : Tensor
        Its private samples ``[n, *shape]`` float32 and labels ``[n]`` int64, or as its task has
        them.
    generator : torch.Generator
        The stream of this (client, round, phase).
    tensors : dict
        What the loop keeps for this client from one phase to the next.
    options : dict
        What the server's message said beside the usual, such as ``proximal-mu``.
    extra_loss : callable, optional
        ``(logits, labels) -> loss``, what a method adds to the loss of each private batch.
    log_prior : Tensor, optional
        ``[classes]``, added to the logits of private batches: balanced softmax.
    carried : dict, optional
        Where the optimiser's state comes from and goes to in a fit; None = a fresh optimiser.
    schedule : callable, optional
        Epoch of the fit -> factor of the learning rate; None = 1.
    epochs : int, optional
        Epochs of the fit; None = ``fit.epochs``.
    clip : float, optional
        Largest norm of a private batch's gradient, of all parameters together; None = as it is.
    rows : Tensor, optional
        ``[batch]`` places of the samples of the private batch at hand, which a loop tells before it
        asks for `extra_loss`: some methods have a term for each sample.
    loss : callable
        ``(outputs, labels) -> loss``, the task's on a private batch: a mean over samples.
    alone : bool
        Whether it must not be fitted side by side with others in one computation.
    exact : bool
        Whether predictions must be the same to the last bit, as what is uploaded is; False while
        they are only measured. A loop may then predict as is quickest.
    """

    index: int
    model: nn.Module
    x: Tensor
    y: Tensor
    generator: torch.Generator
    tensors: dict[str, Tensor] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    extra_loss: Callable[[Tensor, Tensor], Tensor] | None = None
    log_prior: Tensor | None = None
    carried: dict[str, Tensor] | None = None
    schedule: Callable[[int], float] | None = None
    epochs: int | None = None
    clip: float | None = None
    rows: Tensor | None = None
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    alone: bool = False
    exact: bool = True

    @contextmanager
    def standing(self, model: nn.Module) -> Iterator[None]:
        """Have another model stand for the client's meanwhile."""
        own, self.model = self.model, model
        try:
            yield
        finally:
            self.model = own

    def settings(self, fit: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``fit.*`` as it is for this client's fit: with as many epochs as it shall have."""
        return {**fit, "epochs": fit["epochs"] if self.epochs is None else self.epochs}


class ClientLoop(ABC):
    """The two local phases and prediction, over a list of clients of one process.

    A loop works on a list so that it may train clients of one architecture together on a GPU; a
    simple loop treats them one after the other.

    Parameters
    ----------
    fit, distil : dict
        The run's ``fit.*`` and ``distil.*`` settings.
    device : str
        ``"cpu"`` or ``"cuda"``.

    Attributes
    ----------
    needs_classes : bool
        Whether it works on labels that are classes only.
    """

    needs_classes: ClassVar[bool] = False
    from_run: ClassVar[tuple[str, ...]] = ("fit", "distil", "device")
    """parameters that are the run's, and no keys of ``client``"""

    def __init__(self, *, fit: dict[str, Any], distil: dict[str, Any], device: str) -> None:
        self.fit_config, self.distil_config, self.device = fit, distil, device

    @abstractmethod
    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        """Train every client on its private data; return numbers for the tables.

        What has no gradient (``requires_grad=False``) stays as it is: a method may freeze a part.
        """

    @abstractmethod
    def distil(
        self,
        clients: Sequence[Client],
        x: Tensor,
        teachers: Sequence[Target],
        objective: Objective,
    ) -> list[dict[str, float]]:
        """Train every client on its teacher.

        Parameters
        ----------
        clients : sequence of Client
            The clients.
        x : Tensor
            ``[samples, *shape]`` the round's transfer samples.
        teachers : sequence of Target
            One per client, values ``[samples, classes]``.
        objective : Objective
            The distillation loss.
        """

    @abstractmethod
    def predict(self, clients: Sequence[Client], x: Tensor) -> list[Tensor]:
        """Return each client's logits ``[samples, classes]`` on the CPU, in evaluation mode."""
