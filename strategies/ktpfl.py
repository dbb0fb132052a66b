"""KT-pFL: each client learns from a mixture whose weights are themselves learnt.

Zhang, Guo, Ma, Wang, Xu, Wu, "Parameterized Knowledge Transfer for Personalized Federated
Learning", NeurIPS 2021, arXiv 2111.02862 (KT-pFL). Confidence: certain (official code). With ``p_n
= softmax(f_n / T)`` on the transfer set and a matrix c ``[N, N]``, 1/N at the start, every round
makes one step for each row::

    Z_n   = sum_m c_nm p_m
    L_n   = MSE(p_n, Z_n) + rho * MSE(c_n, 1/N)
    c_n  <- softmax( 5 * (c_n - lr * dL_n/dc_n) )
    teacher_n = sum_m c_nm p_m                        with the new c

lr starts at 1 and changes at most five times by a factor of 5, until the mean step
``lr * mean_m |dL_n/dc_nm|`` is in [0.01, 0.05). The client's loss is the KL of
``softmax(f_n / T)`` from its teacher, at T = 10 and without the factor T^2
(``objective.scale=true`` has it: at our learning rate it drowns what a client has learnt itself).

Deviations. The official loss is a mean over classes too; here it is over samples, so C times
stronger. Where clients are absent, the others' share of each row is stepped and mixed as a row of
its own.
"""

from typing import Any

import torch
from torch import Tensor

from ..knowledge import KnowledgeStack, Teacher
from ..maths.likeness import inner
from ..maths.mixing import ROWS
from ..rounds.protocol import RoundPlan
from .mixtures import MixingFusion

SHARPNESS, STEP, FACTOR, CHANGES = 5.0, 0.01, 5.0, 5
"""Of the softmax; least mean step, and by what and how often the learning rate may change."""


class KTpFL(MixingFusion):
    """Learns for every client how much to learn from every other.

    Parameters
    ----------
    rho : float
        Weight of the pull towards equal shares, >= 0.
    temperature : float
        T of soft labels and of the distillation, > 0.
    **base
        See `MixingFusion`; logits are mixed by the coefficients of their soft labels at T.

    Attributes
    ----------
    state : dict
        ``coefficients`` ``[clients, clients]``, rows on the simplex.

    Examples
    --------
    >>> labels = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> KTpFL().weights(KnowledgeStack("soft_labels", labels, [0, 1], torch.arange(1)))
    tensor([[0.5498, 0.4502],
            [0.4502, 0.5498]])
    """

    personalised = True
    tempers = True
    temperature: float

    def __init__(self, rho: float = 0.7, temperature: float = 10.0, **base: Any) -> None:
        super().__init__(temperature=temperature, **base)
        if not rho >= 0:
            raise ValueError(f"rho={rho} must be at least 0")
        self.rho, self.temperature = rho, temperature

    def objective_node(self) -> dict[str, Any]:
        """Return the KL at the method's own temperature."""
        if self.exchange == "logits":
            return super().objective_node()
        return {"name": self.objective, "temperature": self.temperature, "scale": False}

    def weights(self, knowledge: KnowledgeStack) -> Tensor:
        """Return this round's coefficients among those present, ``[clients, clients]``."""
        shares = self._shares(knowledge.clients)
        soft = knowledge.soft_labels
        if knowledge.kind == "logits":
            soft = (knowledge.logits / self.temperature).softmax(dim=-1)
        return stepped(shares, soft, self.rho).float()

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Keep the new coefficients; those for absent clients stay as they are."""
        present, everybody = knowledge.clients, plan.server.clients
        new = self.weights(knowledge) if teacher.weights is None else teacher.weights
        if "coefficients" not in self.state:
            self.state["coefficients"] = torch.full((everybody, everybody), 1 / everybody)
        whole = self.state["coefficients"].clone()
        columns = torch.tensor(present)
        for client, row in zip(present, new, strict=True):
            whole[client, columns] = row * whole[client, columns].sum()
        self.state["coefficients"] = whole
        return teacher

    def _shares(self, present: list[int]) -> Tensor:
        """Return the rows and columns of the present clients, rows normalised, float64."""
        if "coefficients" not in self.state:
            n = len(present)
            return torch.tensor(1 / n).double().expand(n, n)
        own = self.state["coefficients"][present][:, present].double()
        return own.div_(own.sum(dim=1, keepdim=True))


def stepped(shares: Tensor, soft_labels: Tensor, rho: float) -> Tensor:
    """Return the coefficients after one step of every row.

    Parameters
    ----------
    shares : Tensor
        ``[n, n]`` float64, rows on the simplex.
    soft_labels : Tensor
        ``[n, samples, classes]``.
    rho : float
        See `KTpFL`.
    """
    moved = gradient(shares, soft_labels, rho)
    for row, own in zip(moved, shares, strict=True):  # in place: it has a number for each pair
        step = rate(row.abs().mean().item())
        row.copy_((SHARPNESS * (own - step * row)).softmax(dim=-1))
    return moved


def gradient(shares: Tensor, soft_labels: Tensor, rho: float) -> Tensor:
    """Return ``dL_n/dc_nm`` ``[n, n]``: a matter of the inner products of the soft labels."""
    products, n = inner(soft_labels.flatten(start_dim=1)), len(shares)
    slope = torch.empty_like(products)
    for start in range(0, n, ROWS):
        part = slice(start, start + ROWS)
        apart = 2 / soft_labels[0].numel() * (shares[part] @ products - products[part])
        slope[part] = apart + 2 * rho / n * (shares[part] - 1 / n)
    return slope


def rate(mean: float) -> float:
    """Return the learning rate for a row whose mean absolute gradient is this.

    Examples
    --------
    >>> rate(0.02), rate(0.004), rate(0.9), rate(0.0)
    (1.0, 5.0, 0.04, 3125.0)
    """
    exponent = 0
    while mean * FACTOR**exponent < STEP and exponent < CHANGES:
        exponent += 1
    while mean * FACTOR**exponent >= STEP * FACTOR and exponent > -CHANGES:
        exponent -= 1
    return FACTOR**exponent
