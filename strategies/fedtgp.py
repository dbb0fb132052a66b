"""FedTGP: the server trains prototypes that keep the classes apart.

Zhang, Liu, Hua, Cao, "FedTGP: Trainable Global Prototypes with Adaptive-Margin-Enhanced Contrastive
Learning for Data and Model Heterogeneity in Federated Learning", AAAI 2024, arXiv 2401.03230.
Confidence: certain (the authors' HtFLlib)::

    P[c]  = Linear(ReLU(Linear(embedding[c])))                       trained at the server
    d     = || P_n[c'] - P[c] ||  between each uploaded P_n[c'] and every class c
    loss  = CE( -(d + margin * onehot(c')), c' )
    gap_c = min over c'' of || mean_n P_n[c] - mean_n P_n[c''] ||,   margin = min(max_c gap_c, 100)

Clients do what they do in FedProto, with this P. Trap: the margin lengthens the *distance* to the
own class, which has to be the nearest by that much; added to the logit, it would ask for less.
Deviations: as for FedProto; a class has a prototype once some client has had it, where the official
code also sends untrained ones.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..knowledge import KnowledgeStack, Teacher
from ..models.sgd import sgd
from ..rng import scoped
from ..rounds.protocol import RoundPlan
from .fedproto import FedProto


class FedTGP(FedProto):
    """Prototypes trained at the server, with a margin between classes.

    Parameters
    ----------
    weight : float
        Weight of the distance to the prototypes in private training, >= 0.
    dim : int or None
        See `FedProto`.
    margin : float
        Largest margin, >= 0.
    epochs : int
        Passes over a round's prototypes at the server, at least 0.
    lr : float
        Its learning rate, > 0.
    batch_size : int
        Its batch size, at least 1.

    Attributes
    ----------
    state : dict
        ``seen`` ``[classes]``, what some client has had, and ``net.*``, the trained network, beside
        what `ClassFusion` has.

    Examples
    --------
    >>> FedTGP(margin=5.0).exchange_node()
    {'name': 'prototypes', 'weight': 1.0, 'dim': 64, 'counts': False}
    """

    sums_only = False
    brief: ClassVar[Mapping[str, Any]] = {"epochs": 5, "dim": 16}

    def __init__(
        self,
        weight: float = 1.0,
        dim: int | None = None,
        margin: float = 100.0,
        epochs: int = 100,
        lr: float = 0.01,
        batch_size: int = 10,
    ) -> None:
        super().__init__(weight, dim)
        if not margin >= 0 or epochs < 0:
            raise ValueError(f"margin={margin} and epochs={epochs} must be at least 0")
        if batch_size < 1 or not lr > 0:
            raise ValueError(f"batch_size={batch_size} must be at least 1, lr={lr} greater than 0")
        self.margin, self.epochs, self.lr, self.batch_size = margin, epochs, lr, batch_size

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Train the prototypes on those of this round's clients."""
        assert knowledge.mask is not None
        with scoped(plan.seed):
            net = network(plan.classes, self.width)
        kept = {k.removeprefix("net."): v for k, v in self.state.items() if k.startswith("net.")}
        if kept:
            net.load_state_dict(kept)
        present = knowledge.mask.any(dim=0)
        margin = min(widest_gap(teacher.values[present]), self.margin)
        uploaded, labels = ordered(knowledge.values[knowledge.mask], knowledge.mask.nonzero()[:, 1])
        self._train(net, uploaded, labels, margin, plan.seed)
        seen = self.state.get("seen", torch.zeros(plan.classes, dtype=torch.bool)) | present
        self.state |= {"seen": seen} | {f"net.{k}": v.clone() for k, v in net.state_dict().items()}
        values = torch.where(seen.unsqueeze(1), all_of(net).detach(), 0.0)
        return Teacher(teacher.kind, values, teacher.clients, seen)

    def _train(
        self, net: nn.Sequential, uploaded: Tensor, labels: Tensor, margin: float, seed: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        optimizer = sgd(net.parameters(), self.lr)
        for _ in range(self.epochs):
            order = torch.randperm(len(labels), generator=generator)
            for rows in order.split(self.batch_size):
                optimizer.zero_grad()
                contrastive(uploaded[rows], labels[rows], all_of(net), margin).backward()
                optimizer.step()


def ordered(uploaded: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Put rows in an order that does not depend on how clients are numbered."""
    rows = uploaded.double().sum(dim=1).argsort(stable=True)
    rows = rows[labels[rows].argsort(stable=True)]
    return uploaded[rows], labels[rows]


def network(classes: int, dim: int) -> nn.Sequential:
    """Return what makes prototypes ``[classes, dim]`` of class numbers."""
    layers = nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim)
    return nn.Sequential(nn.Embedding(classes, dim), *layers)


def all_of(net: nn.Sequential) -> Tensor:
    """Return the prototypes of all classes, ``[classes, dim]``, with gradient."""
    made: Tensor = net(torch.arange(next(net.parameters()).shape[0]))
    return made


def widest_gap(means: Tensor) -> float:
    """Return how far the most isolated of ``[classes, dim]`` is from its nearest; 0 for one alone.

    Examples
    --------
    >>> widest_gap(torch.tensor([[0.0], [1.0], [4.0]]))
    3.0
    """
    if len(means) < 2:
        return 0.0
    distances = (means.unsqueeze(1) - means).norm(dim=-1).fill_diagonal_(torch.inf)
    return distances.amin(dim=1).max().item()


def contrastive(uploaded: Tensor, labels: Tensor, prototypes: Tensor, margin: float) -> Tensor:
    """Return the cross-entropy of classifying rows by distance, the own one longer by the margin.

    Examples
    --------
    >>> contrastive(torch.zeros(1, 1), torch.tensor([0]), torch.tensor([[0.0], [2.0]]), 2.0)
    tensor(0.6931)
    """
    # The root of 0 has no finite gradient, and identical vectors are not impossible.
    squares = (uploaded.unsqueeze(1) - prototypes).square().sum(dim=-1)
    distances = torch.where(squares > 0, squares, 1.0).sqrt() * (squares > 0)
    own = F.one_hot(labels, len(prototypes))
    return F.cross_entropy(-(distances + margin * own), labels)
