"""Client-side distillation objectives, one file each; ``objective=kl`` names the file."""

from .base import Batch, Objective, Target, TeacherBatch

__all__ = ["Batch", "Objective", "Target", "TeacherBatch"]
