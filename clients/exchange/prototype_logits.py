"""Logits, learnt from where the client's own prototypes agree with the teacher."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ...knowledge import Target
from ...models.features import features_of
from .class_logits import class_means
from .logits import Logits
from .phase import Phase
from .scoring import needs_head


class PrototypeLogits(Logits):
    """Uploads logits; its prototypes stay, and judge what the teacher says of its classes.

    Parameters
    ----------
    tau : float
        Softness of the prototypes' labels, in mean squared distances of private samples from their
        prototypes, > 0.
    trust : float
        Least probability that prototypes must give the teacher's class, in [0, 1].
    absent : bool
        Whether to learn of classes that the client has no samples of.
    """

    def __init__(self, tau: float = 1.0, trust: float = 0.5, absent: bool = True) -> None:
        if not tau > 0:
            raise ValueError(f"tau={tau} must be greater than 0")
        if not 0 <= trust <= 1:
            raise ValueError(f"trust={trust} must be in [0, 1]")
        self.tau, self.trust, self.absent = tau, trust, absent

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models without a linear layer."""
        return needs_head(models, self.input_shape)

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Learn from the samples where the two agree; say which share of all that is."""
        client, device = phase.client, phase.loop.device
        samples = client.x, phase.transfer()[0]
        private, public = (features_of(client.model, x.to(device)).cpu() for x in samples)
        means, has = class_means(private, client.y, phase.classes)
        spread = (private - means[client.y]).square().sum(dim=1).mean() if len(private) else 1.0
        labels = prototype_labels(public, means, has, self.tau * float(spread))
        kept = agreed(target.values, labels, has, self.trust, self.absent)
        kept = kept if target.mask is None else kept & target.mask
        return super().learn(phase, replace(target, mask=kept)) | {
            "kept": kept.float().mean().item()
        }


def prototype_labels(features: Tensor, means: Tensor, has: Tensor, tau: float) -> Tensor:
    """Return ``softmax_c(-||h - mu_c||^2 / tau)`` ``[samples, classes]``, 0 without a prototype.

    Parameters
    ----------
    features : Tensor
        ``[samples, dim]``.
    means, has : Tensor
        ``[classes, dim]``, and which of them there are, ``[classes]`` bool.
    tau : float
        Softness, at least 0.

    Examples
    --------
    >>> means, has = torch.tensor([[1.0], [2.0], [3.0], [0.0]]), torch.tensor([1, 1, 1, 0]).bool()
    >>> prototype_labels(torch.zeros(1, 1), means, has, 1.0)
    tensor([[9.5227e-01, 4.7411e-02, 3.1945e-04, 0.0000e+00]])
    """
    if not has.any():
        return torch.zeros(len(features), len(means))
    squares = (features.unsqueeze(1) - means).square().sum(dim=-1)
    scores = -squares / max(tau, torch.finfo(squares.dtype).tiny)
    return (
        scores.clamp_min(torch.finfo(squares.dtype).min).masked_fill(~has, -torch.inf).softmax(-1)
    )


def agreed(teacher: Tensor, labels: Tensor, has: Tensor, trust: float, absent: bool) -> Tensor:
    """Return on which samples prototypes trust the teacher's class, ``[samples]`` bool.

    Parameters
    ----------
    teacher, labels : Tensor
        ``[samples, classes]``.
    has : Tensor
        ``[classes]`` bool, the classes with a prototype.
    trust : float
        Least probability in `labels` of the teacher's class.
    absent : bool
        The answer for classes without a prototype.

    Examples
    --------
    >>> teacher = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.1, 0.8]])
    >>> labels, has = torch.tensor([[0.7, 0.3, 0.0]]).expand(3, 3), torch.tensor([1, 1, 0]).bool()
    >>> agreed(teacher, labels, has, 0.5, absent=True)
    tensor([ True, False,  True])
    """
    said = teacher.argmax(dim=-1)
    trusted = labels.gather(1, said.unsqueeze(1)).squeeze(1) >= trust
    return torch.where(has[said], trusted, absent)
