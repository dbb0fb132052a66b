"""What travels between clients and server: its kinds, how it is stacked, admitted and packed."""

from .kinds import (
    ON_SAMPLES,
    Knowledge,
    KnowledgeStack,
    Lesson,
    Teacher,
    scattered,
    stack,
    to_arrays,
    to_record,
    to_tensor,
)

__all__ = [
    "ON_SAMPLES",
    "Knowledge",
    "KnowledgeStack",
    "Lesson",
    "Teacher",
    "scattered",
    "stack",
    "to_arrays",
    "to_record",
    "to_tensor",
]
