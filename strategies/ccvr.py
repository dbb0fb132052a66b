"""CCVR: after FedAvg, the head is trained once more on features drawn from class Gaussians.

Luo, Chen, Hu, Zhang, Liang, Feng, "No Fear of Heterogeneity: Classifier Calibration for Federated
Learning with Non-IID Data", NeurIPS 2021, arXiv 2106.05001. Confidence: secondary (two
re-implementations; no code of the authors was found). Once, after the last round, with n_nc samples
of class c at client n whose features under the final model have mean mu_nc and covariance S_nc::

    mu_c = sum_n n_nc mu_nc / n_c
    S_c  = sum_n (n_nc - 1) / (n_c - 1) S_nc + sum_n n_nc / (n_c - 1) (mu_nc - mu_c)(mu_nc - mu_c)'
    head <- argmin CE on `samples` draws of N(mu_c, S_c) of each class; the rest stays as it is

Everybody is asked, also who was away in the last round, and is sent the result. Training is
FedAvg's, and a checkpoint is of before: more rounds go on as if the head had not been touched.

Trap: both re-implementations have clients divide by n_nc, where the formula needs n_nc - 1: S_c
comes out too small. Trap: a class with less than two samples in all has no covariance; nothing is
drawn of it, and here its row of the head stays as it is, where cross-entropy on the others would
push it away. So it is for classes that only lost clients have. Trap: below a ReLU features are not
negative and those drawn may be; `rectify` sets such to 0.

A client of one sample of a class sends its features as they are.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from ..knowledge import Knowledge
from ..models.features import features_of, head
from ..models.flat import flatten, unflatten
from ..rng import torch_generator
from ..rounds.protocol import Outcome, RoundPlan
from ..rounds.server import Study, study
from ..tasks.samples import made_up
from .parametric import ParameterFusion


class CCVR(ParameterFusion):
    """FedAvg, and a head that is calibrated on virtual features at the end.

    Parameters
    ----------
    samples : int
        Features drawn of each class, at least 1.
    epochs : int
        Passes over them, at least 1.
    lr : float
        The server's learning rate, > 0.
    rectify : bool
        Whether to set negative numbers to 0 where the model itself makes none.
    """

    exchange = "class_gaussians"
    lesson_kind = "parameters"
    needs_classes = True
    finishes = True

    def __init__(
        self, samples: int = 200, epochs: int = 1, lr: float = 0.01, rectify: bool = True
    ) -> None:
        super().__init__()
        if samples < 1 or epochs < 1 or not lr > 0:
            problem = f"samples={samples} and epochs={epochs} must be at least 1"
            raise ValueError(f"{problem}, lr={lr} greater than 0")
        self.samples, self.epochs, self.lr, self.rectify = samples, epochs, lr, rectify

    def finish(self, plan: RoundPlan) -> Outcome:
        """Ask everybody for class Gaussians, calibrate the head, send everybody the model."""
        outcome = Outcome()
        admitted = self._uploads(plan, "train.finish", plan.sample_ids, outcome)
        if outcome.goes_on(admitted, "train.finish", plan.min_clients):
            found = pooled(admitted)
            if found:
                self.state["shared.0"] = self._calibrated(plan, found)
            outcome.scalars["calibrated"] = float(len(found))
            lessons = self._lessons(self.groups(plan.server), plan.cohort)
            self._distil(plan, "parameters", lessons, outcome)
        return outcome

    def _calibrated(self, plan: RoundPlan, found: dict[int, tuple[Tensor, Tensor]]) -> Tensor:
        """Return the model ``[size]`` with a head that has learnt from these Gaussians."""
        server, generator = plan.server, torch_generator(plan.seed)
        model = server.filled(0, self.state["shared.0"])
        features = torch.cat([drawn(*one, self.samples, generator) for one in found.values()])
        seen = features_of(model, made_up(server.federation.shape, 64, generator))
        if self.rectify and seen.min() >= 0:
            features = features.clamp_min(0)
        away = torch.ones(plan.classes, dtype=torch.bool)
        away[list(found)] = False
        task = Study(
            head(model),
            features,
            {"labels": torch.tensor(list(found)).repeat_interleave(self.samples)},
            partial(among, away=away),
            epochs=self.epochs,
            lr=self.lr,
            seed=plan.seed,
        )
        ((vector, _),) = plan.blocks.map(study, [task])
        unflatten(head(model), vector)
        return flatten(model)


def pooled(admitted: Sequence[Knowledge]) -> dict[int, tuple[Tensor, Tensor]]:
    """Return mean ``[d]`` and covariance ``[d, d]``, float64, of each class of two samples or more.

    Examples
    --------
    >>> none, clients = torch.zeros(0, dtype=torch.int64), []
    >>> for number, row in enumerate(([1.0, 2.0], [5.0, 2.0])):  # of 0 and 2, and of 4 and 6
    ...     counts = {"counts": torch.tensor([2.0])}
    ...     values = torch.tensor([row])
    ...     clients.append(Knowledge(number, "class_knowledge", values, none, extras=counts))
    >>> [round(part.item(), 3) for part in pooled(clients)[0]]
    [3.0, 6.667]
    """
    counts = torch.stack([one.extras["counts"] for one in admitted]).double()
    values, found = torch.stack([one.values for one in admitted]).double(), {}
    dim = int((8 * values.shape[-1] + 9) ** 0.5 - 3) // 2  # of d + d (d + 1) / 2 numbers
    upper = torch.triu_indices(dim, dim)
    for label in (counts.sum(dim=0) > 1).nonzero().flatten().tolist():
        own, total = counts[:, label, None], counts[:, label].sum()
        means, halves = values[:, label].tensor_split([dim], dim=1)
        mean = (own * means).sum(dim=0) / total
        apart = own.sqrt() * (means - mean)
        within = torch.zeros(dim, dim, dtype=torch.float64)
        within[upper[0], upper[1]] = ((own - 1).clamp_min(0) * halves).sum(dim=0)
        within = within + within.triu(1).T
        found[label] = mean, (within + apart.T @ apart) / (total - 1)
    return found


def drawn(mean: Tensor, covariance: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Return draws ``[samples, d]`` of a Gaussian whose covariance may be singular.

    Examples
    --------
    >>> flat = torch.diag(torch.tensor([4.0, 0.0])).double()
    >>> found = drawn(torch.ones(2).double(), flat, 1000, torch.Generator().manual_seed(0))
    >>> found.std(dim=0).round(), found[:, 1].unique()
    (tensor([2., 0.]), tensor([1.]))
    """
    values, vectors = torch.linalg.eigh(covariance)
    noise = torch.randn(samples, len(mean), generator=generator, dtype=torch.float64)
    return (mean + (noise * values.clamp_min(0).sqrt()) @ vectors.T).float()


def among(logits: Tensor, batch: dict[str, Tensor], away: Tensor) -> Tensor:
    """Return cross-entropy among the classes that are not `away`, ``[classes]`` bool."""
    return F.cross_entropy(logits.masked_fill(away, -torch.inf), batch["labels"])
