"""Client-side distillation objectives, one file each; ``objective=kl`` names the file."""

from .base import Objective, TeacherBatch

__all__ = ["Objective", "TeacherBatch"]
