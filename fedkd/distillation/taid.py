"""TAID: temporally adaptive interpolated distillation (Shing et al., 2025, arXiv 2501.16937).

The target moves from the student's own prediction (t = 0) to the teacher's (t = 1):

    q   = softmax( ((1 - t) stopgrad(z_s) + t z_t) / T )
    L   = -1/B * sum_b sum_c q log softmax( z_s / T )

and t rises faster while the loss L falls, from the second batch of the phase on:

    m   = momentum m + (1 - momentum) (L_prev - L) / L_prev
    t   = min( t_end, max( t_start + (t_end - t_start) progress, t + rate sigmoid(m) (1 - t) ) )

Confidence: certain for T = 1 (SakanaAI/TAID: t_start 0.4, t_end 1, rate 5e-4, momentum 0.99);
dividing by T is ours, without the factor T^2. In the source one schedule is one training, from one
teacher. Here a teacher lasts for a phase, and so does a schedule: t starts again in every round.
The first batch only stores L_prev, as in the source, so that the third is the first whose target
has moved: phases of one or two batches have the target of t_start.
With ``phases`` above 1 one schedule takes so many distil phases of the client, progress counts over
them, and t, m and L_prev live with it in between; after them t stays at t_end.
Soft labels serve as logits through their logarithm: q is the same, as a constant per sample
cancels.
"""

import math
from collections.abc import MutableMapping

import torch
from torch import nn

from .base import NOTHING, Batch, Objective, Target, idle, phases_before
from .divergences import within


class TAID(Objective):
    """Soft cross-entropy with a target that moves from the student to the teacher, in nats.

    Parameters
    ----------
    t_start : float
        The teacher's share at the start, in [0, 1].
    t_end : float
        Its upper limit, in [t_start, 1].
    rate : float
        Largest adaptive step of the share, in [0, 1].
    momentum : float
        Smoothing of the loss's relative change, in [0, 1).
    phases : int
        Distil phases of a client that one schedule takes, at least 1; 1 = t starts again in each.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> objective = TAID()
    >>> objective.progress(0.5)
    >>> teacher = Target(torch.tensor([[0.5, 0.5]]))
    >>> [round(float(objective(torch.zeros(1, 2), teacher)), 4) for _ in range(2)]
    [0.6931, 0.6931]
    >>> round(objective.t, 4)
    0.7
    """

    def __init__(
        self,
        *,
        t_start: float = 0.4,
        t_end: float = 1.0,
        rate: float = 5e-4,
        momentum: float = 0.99,
        phases: int = 1,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(temperature)
        if not 0 <= t_start <= t_end <= 1:
            raise ValueError(
                f"t_start={t_start}, t_end={t_end}: 0 <= t_start <= t_end <= 1 must hold"
            )
        within({"rate": rate}, 0, 1)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum} must be in [0, 1)")
        if not phases >= 1:
            raise ValueError(f"phases={phases} must be at least 1")
        self.phases, self.remembers = phases, phases > 1
        self.t_start, self.t_end, self.rate, self.momentum = t_start, t_end, rate, momentum
        self._reset()

    def _reset(self) -> None:
        self.t, self._trend, self._fraction = self.t_start, 0.0, 0.0
        self._previous: float | None = None
        self._before: int | None = None

    def start(self, student: nn.Module) -> None:
        """Begin a new schedule."""
        self._reset()

    def progress(self, fraction: float) -> None:
        """Set the linear part of the schedule."""
        self._fraction = fraction

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of how the share moves, where it does not."""
        if self.t_start == self.t_end:
            return idle("t_end as t_start is", "rate", "momentum", "phases")
        return {} if self.rate else idle("rate=0", "momentum")

    def __call__(
        self, student_logits: torch.Tensor, teacher: Target, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch, and move the target for the next one."""
        memory = self.memory(batch) if self.remembers else NOTHING
        if self._before is None:
            self._recall(memory)
        target = (1 - self.t) * student_logits.detach() + self.t * teacher.log_probabilities()
        shares = (target / self.temperature).softmax(dim=-1)
        student = (student_logits / self.temperature).log_softmax(dim=-1)
        loss = -(shares * student).sum(dim=-1).mean()
        self._adapt(float(loss.detach()))
        if self.remembers:
            numbers = [self.t, self._trend, self._previous]
            memory["schedule"] = torch.tensor(numbers, dtype=torch.float64)
        return loss

    def _recall(self, memory: MutableMapping[str, torch.Tensor]) -> None:
        self._before = phases_before(memory) if self.remembers else 0
        if "schedule" in memory:
            self.t, self._trend, self._previous = memory["schedule"].tolist()

    def _adapt(self, loss: float) -> None:
        if self._previous is not None:
            change = (self._previous - loss) / max(self._previous, 1e-12)
            self._trend = self.momentum * self._trend + (1 - self.momentum) * change
            step = self.rate * _sigmoid(self._trend) * (1 - self.t)
            done = min(1.0, ((self._before or 0) + self._fraction) / self.phases)
            linear = self.t_start + (self.t_end - self.t_start) * done
            self.t = min(self.t_end, max(linear, self.t + step))
        self._previous = loss


def _sigmoid(x: float) -> float:
    return (1 + math.tanh(x / 2)) / 2  # exp(-x) would overflow after a burst of loss
