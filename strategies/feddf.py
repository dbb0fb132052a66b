"""FedDF: the server distils the clients' ensemble into their averaged model.

Lin, Kong, Stich, Jaggi, "Ensemble Distillation for Robust Model Fusion in Federated Learning",
NeurIPS 2020, arXiv 2006.07242. Confidence: certain (official code)::

    theta_g = sum_n samples_n * theta_n / sum_n samples_n     for each architecture g
    theta_g <- argmin KL( softmax( mean_n f_n(x) / T ) || softmax( f_g(x) / T ) )

The KL is over the transfer set, the ensemble of all clients, whatever their architecture, and
there is no factor T^2.

Deviations. The official code averages the models of an architecture evenly; here they count by
their samples, as in FedAvg. Its server takes up to 10,000 steps of Adam with gradients clipped to
norm 5, and stops early on a labelled validation split; here it makes some epochs of SGD without
clipping, which needs no labels.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ..knowledge import Knowledge
from ..maths.mutual import divergence_from
from ..rounds.protocol import RoundPlan
from ..rounds.server import Study, study
from .parametric import ParameterFusion


class FedDF(ParameterFusion):
    """Averaged parameters, refined by ensemble distillation at the server.

    Parameters
    ----------
    temperature : float
        T of ensemble and student, > 0.
    epochs : int
        Passes over the round's transfer samples at the server, >= 0; 0 is FedAvg.
    lr : float
        The server's learning rate, > 0.
    """

    homogeneous = False
    uses_transfer = True
    tempers = True

    def __init__(self, temperature: float = 1.0, epochs: int = 2, lr: float = 0.01) -> None:
        super().__init__(temperature=temperature)
        if epochs < 0 or not lr > 0:
            raise ValueError(f"epochs={epochs} must be at least 0, lr={lr} greater than 0")
        self.epochs, self.lr = epochs, lr

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Distil the ensemble of all clients into each architecture's average."""
        server, x = plan.server, plan.server.transfer(plan.sample_ids)
        votes = [Study(server.filled(*one), x) for one in self.teachers(plan, admitted, shared)]
        logits = torch.stack([found for _, found in plan.blocks.map(study, votes)])
        groups = self.groups(server)
        member = {groups[one.client]: one.client for one in admitted}
        ensemble = {"ensemble": self.ensemble(logits)}
        tasks = [
            self.lesson(Study(server.filled(member[number], vector), x, ensemble, seed=plan.seed))
            for number, vector in shared.items()
        ]
        learnt = plan.blocks.map(study, tasks)
        return {number: vector for number, (vector, _) in zip(shared, learnt, strict=True)}

    def teachers(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> list[tuple[int, Tensor]]:
        """Return the ensemble: parameters ``[size]``, each with a client of that architecture."""
        del plan, shared
        return [(one.client, one.values) for one in admitted]

    def ensemble(self, logits: Tensor) -> Tensor:
        """Return the ensemble's logits ``[rows, classes]`` of its members' ``[n, rows, classes]``.

        They are those that make the target at the temperature of the loss.
        """
        return logits.mean(dim=0)

    def lesson(self, study: Study) -> Study:
        """Return what an average learns, with its loss and how often it is looked at."""
        loss = partial(ensemble_loss, temperature=self.temperature or 1.0)
        return replace(study, loss=loss, epochs=self.epochs, lr=self.lr)


def mean_probability(logits: Tensor, temperature: float) -> Tensor:
    """Return logits z ``[rows, classes]`` with ``softmax(z) = mean_n softmax(logits_n / T)``.

    They are the mean's logarithms, finite also where a probability underflows.

    Examples
    --------
    >>> votes = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
    >>> mean_probability(votes, 1.0).softmax(-1)
    tensor([[0.7000, 0.3000]])
    """
    each = (logits / temperature).log_softmax(dim=-1)
    return each.logsumexp(dim=0) - math.log(len(each))


def ensemble_loss(
    logits: Tensor, batch: dict[str, Tensor], temperature: float, weight: float = 1.0
) -> Tensor:
    """Return ``weight * KL(softmax(ensemble / T) || softmax(logits / T))``, a mean, in nats.

    The mean is over the batch, not over classes.

    Examples
    --------
    >>> same = torch.tensor([[1.0, 2.0]])
    >>> ensemble_loss(same, {"ensemble": same + 5}, 1.0).item()
    0.0
    """
    return weight * divergence_from(batch["ensemble"] / temperature, logits / temperature)
