"""Features near those of the received model, far from those of the client's last: MOON."""

from torch import Tensor
from torch.nn import functional as F

from ...models.flat import flatten, unflatten
from ...models.padded import there
from ...tasks.samples import vocabulary
from .phase import Phase
from .received import LocalLoss, Loss, Sight, frozen, look

PREVIOUS = "previous"
"""The tensor in which a client keeps the model of its last fit, ``[size]``."""


class Contrastive(LocalLoss):
    """Adds ``mu`` times a contrast of features to the private loss, from the second fit on.

    Parameters
    ----------
    mu : float
        Weight, >= 0.
    tau : float
        Temperature of the contrast, > 0.
    """

    on_features = True

    def __init__(self, mu: float = 1.0, tau: float = 0.5) -> None:
        if not mu >= 0:
            raise ValueError(f"mu={mu} must be at least 0")
        if not tau > 0:
            raise ValueError(f"tau={tau} must be greater than 0")
        self.mu, self.tau = mu, tau

    def term(self, phase: Phase, sight: Sight) -> Loss | None:
        """Return the contrast; None before there is a model to be far from."""
        kept = phase.client.tensors.get(PREVIOUS)
        if kept is None or not self.mu:
            return None
        previous = unflatten(frozen(sight.received), kept)
        texts = vocabulary(self.input_shape) is not None

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            del logits, labels
            near, far = (look(model, sight.x)[0] for model in (sight.received, previous))
            own = sight.features
            counted = there(sight.x) if texts and own.dim() > sight.x.dim() else None
            return self.mu * contrast(own, near, far, self.tau, counted)

        return loss

    def fitted(self, phase: Phase) -> None:
        """Keep the model: it is what the next fit is to be far from."""
        phase.client.tensors[PREVIOUS] = flatten(phase.client.model)


def contrast(
    own: Tensor, near: Tensor, far: Tensor, tau: float, counted: Tensor | None = None
) -> Tensor:
    """Return ``-log( e^{cos(own, near)/tau} / (e^{cos(own, near)/tau} + e^{cos(own, far)/tau}) )``.

    A mean over features ``[batch, ..., dim]``. Those that are not `counted`, bool ``[batch, ...]``,
    count 0, as padded places do in the loss on next tokens.

    Examples
    --------
    >>> import torch
    >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> contrast(one, one, other, 0.5), contrast(one, other, other, 0.5)
    (tensor(0.1269), tensor(0.6931))
    """
    likeness = [F.cosine_similarity(own, other, dim=-1) for other in (near, far)]
    each = F.softplus((likeness[1] - likeness[0]) / tau)
    return (each if counted is None else each * counted).mean()
