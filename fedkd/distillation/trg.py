"""TRG, its local part: the graph of a batch's samples (Zhang et al., 2023, arXiv 2306.12442).

With r_i a sample's row, and N_i the teacher's k nearest rows to r_i, and i itself::

    A_ij = exp( -|r_i - r_j|^2 / (2 sigma) ),   g_i = softmax of A_ij over j in N_i
    L    = kl * KL( teacher || student ) + weight / B * sum_i KL( g_i of the student || g_i )

Confidence: secondary for the graph and its local term, from notes on the paper; the nodes are ours.
There they are patches of feature maps, which no teacher sends here: nodes are the samples of a
batch, rows the softened predictions. The terms within an image and between the same patches of both
nets have no counterpart. With ``rows=features`` the student's rows are its features at unit length.

Trap: the value depends on the batch, as a sample's neighbours do: ``distil.batch_size`` is a
parameter of it.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Batch, Objective, Target, idle
from .divergences import any_of, within
from .divergences import kl as divergence
from .kl import KL


class TRG(Objective):
    """KL divergence, and that of the samples' graphs, in nats.

    Parameters
    ----------
    weight : float
        Of the graphs' part, in [0, 10000].
    k : int
        Neighbours of a sample, at least 1.
    sigma : float
        Width of the kernel, in [1e-4, 10000].
    kl : float
        Weight of the KL divergence, in [0, 10000].
    rows : {"scores", "features"}
        What the student's rows are.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> log_graph(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.eye(2).long(), sigma=1.0)[0].exp()
    tensor([0.3470, 0.6530])
    """

    most_rows = 256

    def __init__(
        self,
        *,
        weight: float = 3.0,
        k: int = 8,
        sigma: float = 0.1,
        kl: float = 1.0,
        rows: Literal["scores", "features"] = "scores",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(temperature)
        within({"weight": weight, "kl": kl}, 0, 10_000)
        any_of(weight=weight, kl=kl)
        within({"sigma": sigma}, 1e-4, 10_000)
        if not k >= 1:
            raise ValueError(f"k={k} must be at least 1")
        self.weight, self.k, self.sigma, self.kl = weight, k, sigma, kl
        self.fewest = 1 if kl else 2
        self.layers = ("head",) if rows == "features" else ()
        self._kl = KL(temperature=temperature)

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the graphs' parameters, where those have no weight."""
        return {} if self.weight else idle("weight=0", "k", "sigma", "rows")

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch."""
        target = teacher.probabilities(self.temperature)
        student = (student_logits / self.temperature).softmax(dim=-1)
        if self.layers:
            student = F.normalize(self.features(batch).flatten(1), dim=1)
        apart = torch.cdist(target, target, compute_mode="donot_use_mm_for_euclid_dist")
        near = apart.topk(min(self.k + 1, len(target)), largest=False)
        graphs = (log_graph(rows, near.indices, self.sigma) for rows in (student, target))
        return (
            self.kl * self._kl(student_logits, teacher) + self.weight * divergence(*graphs).mean()
        )


def log_graph(rows: Tensor, near: Tensor, sigma: float) -> Tensor:
    """Return the logarithm of how a sample's neighbours weigh, ``[B, k]``.

    Parameters
    ----------
    rows : Tensor
        ``[B, any]``.
    near : Tensor
        ``[B, k]`` int64, whose weights to compare.
    sigma : float
        Width of the kernel, greater than 0.
    """
    squares = (rows[:, None, :] - rows[near]).square().sum(dim=-1)
    return (-squares / (2 * sigma)).exp().log_softmax(dim=-1)
