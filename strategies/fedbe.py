"""FedBE: the ensemble is of models drawn from a distribution around the average.

Chen, Chao, "FedBE: Making Bayesian Model Ensemble Applicable to Federated Learning", ICLR 2021,
arXiv 2009.01974. Confidence: certain (official code)::

    w       = sum_n samples_n * w_n / sum_n samples_n             for each architecture
    u_n     = (w_n - w) / |w_n - w|     of each tensor; m, v, r: means of u, of its square less m^2
                                        (at least 1e-5), and of |w_n - w|
    w~      = w + r (m + 0.1 sqrt(v) eps),  eps ~ N(0, 1)         posterior=gaussian
    w~      = sum_n pi_n w_n,  pi ~ Dirichlet(alpha)              posterior=dirichlet
    target  = mean of softmax f(x) over w and the w~, to the power of 1 / T, normalised
    w      <- argmin KL( target || softmax f_w(x) )               SGD, its last steps averaged

over the transfer set, the ensemble of all architectures together. An update of 0 has u_n = 0 (the
official code divides by 0), and only parameters are drawn by the Gaussian: BatchNorm's statistics
stay those of w, since a drawn variance may be negative. The KL is a mean over samples alone; the
official code's is also one over classes, C times less.

Deviations. The official code averages each 25th model from the 500th of some 1,600 steps on; here
each from `average_from` on, whatever their number. That alpha is 1 (every mixture as likely) is
inferred. The clients' own models are in the ensemble if `use_clients` says so, as there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..knowledge import Knowledge
from ..models.flat import floats
from ..rounds.protocol import RoundPlan
from ..rounds.server import Study
from .feddf import FedDF, ensemble_loss, mean_probability

SPREAD, LEAST = 0.1, 1e-5
"""What deviations of the Gaussian are scaled by, and its least variance."""


class FedBE(FedDF):
    """FedAvg, refined by an ensemble of models drawn around the average.

    Parameters
    ----------
    posterior : {"gaussian", "dirichlet"}
        What models are drawn from.
    samples : int
        Models drawn for each architecture, >= 1.
    alpha : float
        Of the Dirichlet distribution, > 0: small is few clients a model.
    use_clients : bool
        Whether the clients' own models vote as well.
    temperature : float
        T of the target, > 0; below 1 it is sharper than the ensemble.
    epochs : int
        Passes over the round's transfer samples at the server, >= 0; 0 is FedAvg.
    lr : float
        The server's learning rate, > 0.
    average_from : float
        Share of the server's steps after which its parameters are averaged, in [0, 1).

    Examples
    --------
    >>> votes = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
    >>> FedBE().ensemble(votes).softmax(-1)  # of .7 and .3, squared
    tensor([[0.8448, 0.1552]])
    """

    brief: ClassVar[Mapping[str, Any]] = {"epochs": 2}

    def __init__(
        self,
        posterior: Literal["gaussian", "dirichlet"] = "gaussian",
        samples: int = 10,
        alpha: float = 1.0,
        use_clients: bool = False,
        temperature: float = 0.5,
        epochs: int = 20,
        lr: float = 0.001,
        average_from: float = 0.3,
    ) -> None:
        super().__init__(temperature, epochs, lr)
        if samples < 1 or not alpha > 0:
            raise ValueError(f"samples={samples} must be at least 1, alpha={alpha} greater than 0")
        if not 0 <= average_from < 1:
            raise ValueError(f"average_from={average_from} must be at least 0 and below 1")
        self.posterior, self.samples, self.alpha = posterior, samples, alpha
        self.use_clients, self.average_from = use_clients, average_from

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of alpha, where there is no Dirichlet distribution."""
        if self.posterior == "dirichlet":
            return super().unused(kind)
        return {**super().unused(kind), "alpha": "is for posterior=dirichlet; leave it out"}

    def teachers(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> list[tuple[int, Tensor]]:
        """Return each average and what is drawn around it."""
        groups, rng = self.groups(plan.server), np.random.default_rng(plan.seed)
        found = super().teachers(plan, admitted, shared) if self.use_clients else []
        for number, mean in shared.items():
            members = [one for one in admitted if groups[one.client] == number]
            vectors, first = torch.stack([one.values for one in members]), members[0].client
            if self.posterior == "gaussian":
                drawn = gaussian(vectors, mean, plan.server.instances[first], self.samples, rng)
            else:
                shares = rng.dirichlet([self.alpha] * len(members), self.samples)
                drawn = torch.from_numpy(shares).float() @ vectors
            found += [(first, one) for one in (mean, *drawn)]
        return found

    def ensemble(self, logits: Tensor) -> Tensor:
        """Return the logarithms of the members' mean probabilities, by T."""
        return mean_probability(logits, 1.0) / (self.temperature or 1.0)

    def lesson(self, study: Study) -> Study:
        """Return what an average learns; the target is tempered, and the student is not."""
        loss = partial(ensemble_loss, temperature=1.0)
        return replace(super().lesson(study), loss=loss, average_from=self.average_from)


def gaussian(
    vectors: Tensor, mean: Tensor, model: nn.Module, samples: int, rng: np.random.Generator
) -> Tensor:
    """Return models ``[samples, size]`` drawn around a mean.

    Parameters
    ----------
    vectors, mean : Tensor
        ``[n, size]`` and ``[size]``, as `fedkd.models.flat.flatten` makes them.
    model : nn.Module
        Whose numbers they are: what is no parameter of it stays as it is in the mean.
    samples : int
        How many.
    rng : numpy.random.Generator
        Draws them.
    """
    sizes = {name: value.numel() for name, value in floats(model).items()}
    learnt = dict(model.named_parameters(remove_duplicate=False))  # tied ones have several names
    parts = []
    updates = (vectors - mean).split([*sizes.values()], dim=1)
    for name, update, own in zip(sizes, updates, mean.split([*sizes.values()]), strict=True):
        part = own.expand(samples, -1)
        if name in learnt:
            middle, deviation = moments(update)
            noise = rng.standard_normal(part.shape, dtype=np.float32)
            part = part + middle + deviation * torch.from_numpy(noise)
        parts.append(part)
    return torch.cat(parts, dim=1)


def moments(updates: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation ``[size]`` of the Gaussian for a tensor's updates.

    Examples
    --------
    >>> moments(torch.tensor([[3.0, 4.0], [0.0, 5.0]]))
    (tensor([1.5000, 4.5000]), tensor([0.1500, 0.0500]))
    """
    norms = updates.norm(dim=1, keepdim=True)
    units = updates / torch.where(norms > 0, norms, 1.0)
    middle = units.mean(dim=0)
    variance = (units.square().mean(dim=0) - middle.square()).clamp_min(LEAST)
    return norms.mean() * middle, norms.mean() * SPREAD * variance.sqrt()
