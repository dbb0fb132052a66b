"""Client-side distillation objectives, one file each; ``objective=kl`` names the file."""

from .base import Batch, Objective, TeacherBatch

__all__ = ["Batch", "Objective", "TeacherBatch"]
