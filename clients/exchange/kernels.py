"""How a client's model sees the samples that all look at, in pairs: FedHeNN's kernels."""

import math
from collections.abc import Mapping

from torch import Tensor, nn

from ...distillation.nets import evaluating
from ...knowledge import Knowledge, Target
from ...models.features import features_of, tapped
from .parameters import NO_SAMPLES
from .phase import Phase
from .received import Added, Loss, Sight
from .scoring import needs_head


class Kernels(Added):
    """Adds ``eta sqrt(t) (1 - CKA)`` of its kernel and the others' mean; uploads its kernel.

    Which samples that is about, the server says: ``images`` for the upload, ``seen`` for the mean,
    which are those of an earlier round.

    Parameters
    ----------
    eta : float
        Weight, >= 0; t is how many rounds there were before.
    """

    kind = "kernels"

    def __init__(self, eta: float = 0.01) -> None:
        if not 0 <= eta < math.inf:
            raise ValueError(f"eta={eta} must be at least 0 and finite")
        self.eta = eta

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(samples, samples)``."""
        del model, classes
        return samples, samples

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models without features."""
        return needs_head(models, self.input_shape)

    def term(self, phase: Phase, sight: Sight) -> Loss | None:
        """Return what is missing to the mean kernel; None before there is one."""
        del sight
        kernel, weight = phase.client.tensors.get("kernel"), self.eta * math.sqrt(phase.round - 1)
        if kernel is None or not weight:
            return None
        x, model = self._images(phase, "seen"), phase.client.model
        wanted = centred(kernel.to(phase.loop.device))

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            del logits, labels
            with evaluating(model), tapped(model) as tap:
                model(x)
            return weight * (1 - alignment(centred(products(tap.features)), wanted))

        return loss

    def upload(self, phase: Phase) -> Knowledge:
        """Return the kernel ``[samples, samples]``."""
        features = features_of(phase.client.model, self._images(phase, "images"))
        return Knowledge(phase.index, self.kind, products(features).cpu(), NO_SAMPLES)

    def receive(self, phase: Phase, target: Target) -> None:
        """Keep the mean kernel, for the next fit."""
        phase.client.tensors["kernel"] = target.values

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Keep the mean kernel, for the next fit."""
        self.receive(phase, target)
        return {}

    def _images(self, phase: Phase, name: str) -> Tensor:
        return phase.bench.transfer[list(phase.options[name])].to(phase.loop.device)


def products(features: Tensor) -> Tensor:
    """Return the inner products of features ``[samples, ...]`` in pairs."""
    flat = features.flatten(1)
    return flat @ flat.T


def centred(kernel: Tensor) -> Tensor:
    """Return ``H K H``, ``H = I - 11'/L``: rows and columns sum to 0.

    Examples
    --------
    >>> import torch
    >>> centred(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[ 0.5000, -0.5000],
            [-0.5000,  0.5000]])
    """
    rows = kernel - kernel.mean(dim=0)
    return rows - rows.mean(dim=1, keepdim=True)


def alignment(own: Tensor, other: Tensor) -> Tensor:
    """Return the centred kernel alignment of centred kernels, in [-1, 1]; 0 if one is 0.

    Examples
    --------
    >>> import torch
    >>> kernel = centred(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    >>> alignment(kernel, 5 * kernel), alignment(kernel, 0 * kernel)
    (tensor(1.), tensor(0.))
    """
    lengths: Tensor = own.norm() * other.norm()
    return (own * other).sum() / lengths.clamp_min(1e-12)
