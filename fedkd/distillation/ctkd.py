"""CTKD: curriculum temperature (Li et al., 2022, arXiv 2211.16231).

    tau   = T (1 + 20 sigmoid(theta)),   theta = 1 at the start
    L     = tau^2 / B * sum_b KL( teacher_b || student_b ),       both softened by tau
    theta = theta + lr lam(e) dL/dtheta,   lam(e) = (1 - cos(pi min(e, E) / E)) / 2

The temperature works against the student: it rises where that makes the loss larger, more so from
phase to phase, e counting the client's distil phases. theta is in the client's memory, as is e.

Confidence: certain (zhengli97/CTKD, global temperature, T = 1: 1 to 21, not 20; E = 10 epochs).
Ours: e counts phases, whose epochs are few, and their parts; theta takes steps of plain SGD of its
own, where the source has it in the student's optimiser, with momentum. Traps: the temperature
begins at 15.6, so losses are of logits rather than of probabilities; the source's own defaults
divide by 0 or reverse nothing.
"""

import math

import torch
from torch import Tensor, nn

from .base import Batch, Objective, Target, idle, phases_before
from .divergences import within
from .kl import KL

WIDTH = 20.0
"""Beyond 1, what the temperature may become."""


class CTKD(Objective):
    """KL divergence at a temperature that learns to make it hard.

    Parameters
    ----------
    theta : float
        Where the temperature's parameter begins, in [-20, 20].
    phases : int
        Distil phases E of a client until the temperature learns at its full rate, at least 1.
    lr : float
        Its learning rate, in [0, 10]; 0 = a fixed temperature.
    temperature : float
        What the temperature is multiplied by.

    Examples
    --------
    >>> memory = {"theta": torch.tensor(0.0)}
    >>> batch = Batch(torch.zeros(1, 2), torch.arange(1), memory=memory)
    >>> z, teacher = torch.zeros(1, 2), Target(torch.tensor([[1.0, 0.0]]))
    >>> CTKD()(z, teacher, batch) == KL(temperature=11.0)(z, teacher)
    tensor(True)
    """

    remembers = True

    def __init__(
        self,
        *,
        theta: float = 1.0,
        phases: int = 10,
        lr: float = 0.05,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(temperature)
        within({"theta": theta}, -20, 20)
        within({"lr": lr}, 0, 10)
        if not phases >= 1:
            raise ValueError(f"phases={phases} must be at least 1")
        self.theta, self.phases, self.lr, self._kl = theta, phases, lr, KL()
        self._reset()

    def _reset(self) -> None:
        self._fraction, self._before = 0.0, -1

    def start(self, student: nn.Module) -> None:
        """Begin a phase; what was learnt is in the client's memory."""
        self._reset()

    def progress(self, fraction: float) -> None:
        """Hear how much of the phase is done."""
        self._fraction = fraction

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the curriculum, where the temperature does not learn."""
        return {} if self.lr else idle("lr=0", "phases")

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch, and move the temperature for the next one."""
        memory = self.memory(batch)
        if self._before < 0:
            self._before = phases_before(memory)
        theta = float(memory.get("theta", torch.tensor(self.theta)))
        temperature = self.softness(theta)
        step = self.lr * self.curriculum(self._before + self._fraction)
        slope = float(rise(student_logits.detach(), teacher, temperature))
        sigmoid = (temperature / self.temperature - 1) / WIDTH
        moved = theta + step * slope * self.temperature * WIDTH * sigmoid * (1 - sigmoid)
        if math.isfinite(moved):
            memory["theta"] = torch.tensor(moved, dtype=torch.float64)
        self._kl.temperature = temperature
        return self._kl(student_logits, teacher)

    def softness(self, theta: float) -> float:
        """Return the temperature at a value of its parameter."""
        return self.temperature * (1 + WIDTH * (1 + math.tanh(theta / 2)) / 2)

    def curriculum(self, phases: float) -> float:
        """Return how much of its rate the temperature learns at, in [0, 1], after some phases."""
        return (1 - math.cos(math.pi * min(phases / self.phases, 1))) / 2


def rise(logits: Tensor, teacher: Target, temperature: float) -> Tensor:
    """Return the derivative by the temperature of `KL` at that temperature.

    Not by autograd: through soft labels of 0, whose logarithm is infinite, it would be NaN.

    Parameters
    ----------
    logits : Tensor
        ``[B, C]``, the student's.
    teacher : Target
        The same samples.
    temperature : float
        Greater than 0.
    """
    log_q, log_p = (logits / temperature).log_softmax(-1), teacher.log_probabilities(temperature)
    q, p, gap = log_q.exp(), log_p.exp(), log_p - log_q
    scores = temperature * log_p
    spread = scores - (p * scores).sum(dim=-1, keepdim=True)
    each = 2 * temperature * p * gap - p * spread * gap + (p - q) * logits
    return each.sum(dim=-1).mean()
