"""Soft labels of one temperature, both ways: the student is as soft as its teacher."""

from typing import TYPE_CHECKING

from ...distillation.base import TeacherBatch
from ...divergences import EPS
from ...knowledge import Lesson
from .soft_labels import SoftLabels

if TYPE_CHECKING:
    from ..phase import Phase


class TemperedLabels(SoftLabels):
    """Uploads ``softmax(logits / T)`` and learns from a teacher that is as soft as that.

    Parameters
    ----------
    temperature : float
        T of the objective, > 0; the strategy asks for soft labels of the same.
    """

    from_model = True

    def __init__(self, temperature: float = 10.0) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be greater than 0")
        self.temperature = temperature

    def learn(self, phase: "Phase", lesson: Lesson) -> dict[str, float]:
        """Distil at temperature T, where the teacher's probabilities are those it was sent.

        Objectives soften a teacher by their temperature. ``T * log p`` are the logits which that
        turns into p again.
        """
        x, _ = phase.transfer()
        objective = phase.objective()
        objective.temperature = self.temperature
        logits = self.temperature * lesson.values.clamp_min(EPS).log()
        teacher = TeacherBatch(logits, "logits")
        return phase.loop.distil([phase.client], x, [teacher], objective)[0]
