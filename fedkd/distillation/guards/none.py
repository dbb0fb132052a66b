"""No guard: clients learn from the teacher as it is."""

from torch import Tensor

from .base import Guard, Lesson, Target, every


class NONE(Guard):
    """Learns from the teacher as it is; parameters of other guards have no effect."""

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        """Return the teacher, and all rows."""
        return teacher.values, every(teacher)
