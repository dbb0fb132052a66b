"""CCVR at a client: the model in each round, and Gaussians of features of each class at the end."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ...knowledge import Knowledge
from ...knowledge.admission import Expected
from ...models.features import features_of, head
from .parameters import NO_SAMPLES, Parameters
from .phase import Phase
from .received import needs_top


class ClassGaussians(Parameters):
    """Uploads the model; after the last round, of each class the mean and covariance of features.

    A row of that is a mean ``[d]`` and the upper triangle of a covariance; `counts` come with it.
    """

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models whose last linear layer is not the last thing they do."""
        return needs_top(models, self.input_shape)

    def finishing(self, expected: Expected, classes: int, model: nn.Module) -> Expected:
        """Return ``[classes, d + d (d + 1) / 2]`` and ``counts`` ``[classes]``."""
        dim = head(model).in_features
        return replace(
            expected,
            kind="class_knowledge",
            shape=(classes, dim + dim * (dim + 1) // 2),
            masked=True,
            extras={"counts": (classes,)},
            counted=("counts",),
        )

    def finish(self, phase: Phase) -> Knowledge:
        """Return the Gaussians of the classes that the client has, as its model sees them."""
        client = phase.client
        features = features_of(client.model, client.x.to(phase.loop.device)).cpu()
        values, counts = gaussians(features, client.y, phase.classes)
        extras = {"counts": counts}
        return Knowledge(
            phase.index, "class_knowledge", values, NO_SAMPLES, counts > 0, extras=extras
        )


def gaussians(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return each class's mean and unbiased covariance, in one row, and how many samples it has.

    Parameters
    ----------
    features, labels : Tensor
        ``[samples, d]`` and ``[samples]``.
    classes : int
        C.

    Returns
    -------
    rows : Tensor
        ``[C, d + d (d + 1) / 2]``; a class of one sample has a covariance of 0.
    counts : Tensor
        ``[C]``.

    Examples
    --------
    >>> gaussians(torch.tensor([[0.0], [2.0], [7.0]]), torch.tensor([0, 0, 1]), classes=2)
    (tensor([[1., 2.],
            [7., 0.]]), tensor([2., 1.]))
    """
    dim = features.shape[1]
    upper = torch.triu_indices(dim, dim)
    rows, counts = [], torch.bincount(labels, minlength=classes).float()
    for label, count in enumerate(counts.tolist()):
        own = features[labels == label].double()
        mean = own.sum(dim=0) / max(count, 1)
        scatter = (own - mean).T @ (own - mean) / max(count - 1, 1)
        rows.append(torch.cat([mean, scatter[upper[0], upper[1]]]))
    return torch.stack(rows).float(), counts
