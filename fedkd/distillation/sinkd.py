"""SinKD: Sinkhorn distance between batches of predictions (Cui et al., 2024, arXiv 2402.17110).

    W_ij = || p_s,i - p_t,j ||_1                       [B, B], probabilities at sinkhorn_temperature
    P    = exp( -W / epsilon ), then `iterations` times: rows to sum 1, columns to sum 1
    L    = kl * KL( teacher || student ) + weight * sum_ij P_ij W_ij

Confidence: certain for the Sinkhorn term (2018cx/SinKD: epsilon 0.1, 20 iterations, temperature 2,
weight 0.001 for BERT and 0.0008 for GPT-Neo). The source adds it to cross-entropy and softened KL;
here the KL part is that of `kl`, at the objective's own temperature.

Traps: the Sinkhorn term alone does not see which sample is which (permuting the student's batch
leaves it as it is), so ``kl=0`` trains no usable classifier; and it grows with the batch, since P
sums to B, so its weight belongs to a batch size.
"""

import torch

from .base import Batch, Objective, Target, idle
from .divergences import any_of, within
from .kl import KL


class SinKD(Objective):
    """KL divergence plus the Sinkhorn distance between the batches of predictions.

    Parameters
    ----------
    weight : float
        Weight of the Sinkhorn distance, in [0, 10000].
    kl : float
        Weight of the KL divergence, in [0, 10000].
    epsilon : float
        Entropy regularisation of the transport plan, in [0.025, 1000]; smaller underflows float32.
    iterations : int
        Sinkhorn iterations, in [1, 10000].
    sinkhorn_temperature : float
        Softmax temperature of the Sinkhorn distance, in [0.01, 1000].
    temperature : float
        Softmax temperature of the KL divergence.

    Examples
    --------
    >>> same = torch.zeros(4, 10)
    >>> SinKD()(same, Target(same.softmax(-1))).abs() < 1e-6
    tensor(True)
    """

    def __init__(
        self,
        *,
        weight: float = 0.001,
        kl: float = 1.0,
        epsilon: float = 0.1,
        iterations: int = 20,
        sinkhorn_temperature: float = 2.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(temperature)
        within({"weight": weight, "kl": kl}, 0, 10_000)
        any_of(weight=weight, kl=kl)
        within({"epsilon": epsilon}, 0.025, 1000)
        within({"iterations": iterations}, 1, 10_000)
        within({"sinkhorn_temperature": sinkhorn_temperature}, 0.01, 1000)
        self.weight, self.kl, self.epsilon, self.iterations = weight, kl, epsilon, iterations
        self.sinkhorn_temperature = sinkhorn_temperature
        self._kl = KL(temperature=temperature)

    def tempers(self, kind: str) -> bool:
        """Say so of the KL divergence: the Sinkhorn distance has its own."""
        return self.kl > 0

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the Sinkhorn distance's, where it has no weight."""
        names = ("epsilon", "iterations", "sinkhorn_temperature")
        return {} if self.weight else idle("weight=0", *names)

    def __call__(
        self, student_logits: torch.Tensor, teacher: Target, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch."""
        student = (student_logits / self.sinkhorn_temperature).softmax(dim=-1)
        target = teacher.probabilities(self.sinkhorn_temperature)
        # not torch.cdist: its gradient is not deterministic on a GPU
        cost = (student[:, None, :] - target[None, :, :]).abs().sum(dim=-1)
        distance = (self._plan(cost) * cost).sum()
        return self.kl * self._kl(student_logits, teacher) + self.weight * distance

    def _plan(self, cost: torch.Tensor) -> torch.Tensor:
        plan = (-cost / self.epsilon).exp()
        for _ in range(self.iterations):
            plan = plan / plan.sum(dim=1, keepdim=True)
            plan = plan / plan.sum(dim=0, keepdim=True)
        return plan
