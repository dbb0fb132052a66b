"""MLKD: multi-level logit distillation (Jin, Wang and Lin, CVPR 2023).

With P = softmax(z / T) [B, C], summed over the temperatures T::

    instance  T^2 KL( P_t || P_s ), mean over samples
    batch     1/B || P_t P_t' - P_s P_s' ||_F^2              which samples are alike
    class     1/C || P_t' P_t - P_s' P_s ||_F^2              which classes go together

Confidence: certain (Jin-Ying/Multi-Level-Logit-Distillation: T in 4, 2, 3, 5, 6; its weights of 0.9
and of 0.1 for cross-entropy have no part here). Ours is the ``weight`` of the sum, by default such
that five temperatures pull about as strongly as one: at 1 the default learning rate is too much. In
the source a strongly augmented view learns too, and masks keep the surer half; but those multiply a
loss that is a mean already, so they only scale it, and some of the strong view's terms are computed
on the weak one or dropped. Here: one view, the one that the teacher labelled, and no masks. Trap:
the class term grows with the batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Batch, Objective, Target
from .divergences import any_of, kl, within


class MLKD(Objective):
    """KL divergence, and the squared differences of Gram matrices, at several temperatures.

    Parameters
    ----------
    levels : list of float
        Temperatures, each in [0.1, 100]; times `temperature`.
    weight : float
        Weight of the sum of all terms, in [0, 1000]; 1 = the source's.
    batch : float
        Weight of the batch term, in [0, 1000].
    classes : float
        Weight of the class term, in [0, 1000].
    temperature : float
        What all levels are multiplied by.

    Examples
    --------
    >>> same = torch.zeros(4, 10)
    >>> MLKD()(same, Target(same.softmax(-1))).abs() < 1e-6
    tensor(True)
    """

    def __init__(
        self,
        *,
        levels: Sequence[float] = (4, 2, 3, 5, 6),
        weight: float = 0.2,
        batch: float = 1.0,
        classes: float = 1.0,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(temperature)
        numbers = [one for one in levels if isinstance(one, int | float)]
        if not levels or len(numbers) < len(levels):
            raise ValueError(f"levels={levels!r} must be a list of numbers, at least one")
        for level in levels:
            within({"levels": level}, 0.1, 100)
        within({"weight": weight, "batch": batch, "classes": classes}, 0, 1000)
        any_of(weight=weight)
        self.levels, self.weight, self.batch, self.classes = tuple(levels), weight, batch, classes

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch."""
        temperatures = [self.temperature * level for level in self.levels]
        each = [self._at(student_logits, teacher, t) for t in temperatures]
        return self.weight * torch.stack(each).sum()

    def _at(self, logits: Tensor, teacher: Target, temperature: float) -> Tensor:
        student, target = (
            (logits / temperature).log_softmax(dim=-1),
            teacher.log_probabilities(temperature),
        )
        s, t = student.exp(), target.exp()
        alike = (t @ t.T - s @ s.T).square().sum() / s.shape[0]
        together = (t.T @ t - s.T @ s).square().sum() / s.shape[1]
        instance = temperature**2 * kl(target, student).mean()
        return instance + self.batch * alike + self.classes * together
