"""Soft labels, and for each sample how densely the client's own features lie around it."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ...maths.density import gaussian_log_density, held_out, kernel_log_density
from .phase import Phase
from .scoring import Scored, needs_head, pooled_features
from .soft_labels import SoftLabels

if TYPE_CHECKING:
    from collections.abc import Mapping


class DensityLabels(Scored, SoftLabels):
    """Scores samples by how far their density falls short of that of private samples.

    Parameters
    ----------
    density : {"class_gaussian", "gaussian", "kernel"}
        What is fitted to the private features: a Gaussian for each class, one for all, or a kernel
        density.
    dim : int
        Features, averaged down from what the model has, at least 1.
    power : float
        What the strategy raises scores to, for their weight.
    """

    lasting = False

    def __init__(
        self,
        density: Literal["class_gaussian", "gaussian", "kernel"] = "class_gaussian",
        dim: int = 64,
        power: float = 1.0,
    ) -> None:
        if dim < 1:
            raise ValueError(f"dim={dim} must be at least 1")
        self.density, self.dim, self.power = density, dim, power

    def refusal(self, models: "Mapping[str, nn.Module]") -> str | None:
        """Refuse models without a linear layer."""
        return needs_head(models, self.input_shape)

    def scores(self, phase: Phase, x: Tensor) -> Tensor:
        """Return ``exp(-u)`` ``[samples]``, u the shortfall in nats per feature, at least 0."""
        client = phase.client
        private, public = (pooled_features(phase, each, self.dim) for each in (client.x, x))
        return self.certainty(public, private, client.y, client.generator)

    def certainty(
        self, public: Tensor, private: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the scores of features, ``[samples]`` in (0, 1].

        Parameters
        ----------
        public, private : Tensor
            ``[samples, dim]`` and ``[n, dim]``.
        labels : Tensor
            ``[n]`` int64, of the private samples.
        generator : torch.Generator
            Chooses the private samples that the others' density is compared with.
        """
        fitted, held = held_out(len(private), generator)
        both, points = torch.cat([public, private[held]]), private[fitted]
        if self.density == "kernel":
            values = kernel_log_density(both, points)
        else:
            groups = labels[fitted] if self.density == "class_gaussian" else None
            values = gaussian_log_density(both, points, groups)
        there, typical = values[: len(public)], values[len(public) :].median()
        return (-(typical - there).clamp_min(0) / self.dim).exp()
