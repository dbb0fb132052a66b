"""Features near their class's cluster prototypes, far from those of others: FPL at a client."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...knowledge import Knowledge, Target
from ...models.features import head
from .phase import Phase
from .received import LocalLoss, Loss, Sight
from .scoring import feature_means

CLUSTERS, OF = "clusters", "clusters_of"
"""What comes beside the model: cluster prototypes ``[m, dim]``, and the class of each ``[m]``."""


class ClusterContrast(LocalLoss):
    """Uploads the model and class means of features; the model and cluster prototypes come back.

    Parameters
    ----------
    tau : float
        Temperature of the contrast, > 0.
    """

    on_features = True
    signed = ("prototypes",)

    def __init__(self, tau: float = 0.2) -> None:
        if not tau > 0:
            raise ValueError(f"tau={tau} must be greater than 0")
        self.tau = tau

    def extras(self, model: nn.Module, classes: int) -> dict[str, tuple[int, ...]]:
        """Declare ``prototypes`` ``[classes, dim]``, and ``has`` ``[classes]``: 1 where it is."""
        shapes = {"prototypes": (classes, head(model).in_features), "has": (classes,)}
        return super().extras(model, classes) | shapes

    def upload(self, phase: Phase) -> Knowledge:
        """Return the model, and the mean features of each class that the client has."""
        knowledge = super().upload(phase)
        means, present = feature_means(phase)
        extras = {"prototypes": means, "has": present.float()}
        return replace(knowledge, extras={**knowledge.extras, **extras})

    def receive(self, phase: Phase, target: Target) -> None:
        """Start from the server's model; remember the prototypes for the fits to come."""
        super().receive(phase, target)
        phase.client.tensors |= target.extras

    def term(self, phase: Phase, sight: Sight) -> Loss | None:
        """Return both terms; None before there are prototypes."""
        tensors, device = phase.client.tensors, phase.loop.device
        if not len(tensors.get(CLUSTERS, ())):
            return None
        clusters, of = tensors[CLUSTERS].to(device), tensors[OF].to(device)

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            del logits
            return pull(sight.features, labels, clusters, of, self.tau)

        return loss


def pull(features: Tensor, labels: Tensor, clusters: Tensor, of: Tensor, tau: float) -> Tensor:
    """Return how far a batch is from its classes' clusters: FPL's contrast, and its distance.

    ``-log( sum_{p of y} e^{cos(f,p)/tau} / sum_p e^{cos(f,p)/tau} ) + MSE(f, mean of p of y)``, a
    mean over the samples whose class has a prototype; 0 where none has.

    Parameters
    ----------
    features, labels : Tensor
        ``[batch, dim]`` and ``[batch]`` int64.
    clusters, of : Tensor
        ``[m, dim]``, and the class of each ``[m]`` int64.
    tau : float
        Greater than 0.

    Examples
    --------
    >>> clusters, of = torch.eye(3), torch.tensor([0, 0, 1])
    >>> features = torch.tensor([[1.0, 0.0, 0.0]])  # distance (0.5, -0.5, 0): 1/6
    >>> pull(features, torch.tensor([0]), clusters, of, 1.0) - 1 / 6  # ln((e + 2) / (e + 1))
    tensor(0.2382)
    >>> pull(features, torch.tensor([2]), clusters, of, 1.0)
    tensor(0.)
    """
    own = of == labels.unsqueeze(1)
    kept = own.any(dim=1)
    own, features = own[kept], features[kept]
    likeness = F.normalize(features, dim=1) @ F.normalize(clusters, dim=1).T / tau
    near = likeness.masked_fill(~own, -torch.inf).logsumexp(dim=1)
    centres = own.float() @ clusters / own.sum(dim=1, keepdim=True)
    squares = (features - centres).square().mean(dim=1)
    total: Tensor = (likeness.logsumexp(dim=1) - near + squares).sum() / kept.sum().clamp_min(1)
    return total
