"""What travels between clients and server: its kinds, how it is stacked, admitted and packed."""

from .arrays import to_arrays, to_tensor
from .stacks import ON_SAMPLES, Knowledge, KnowledgeStack, scattered, stack, to_record
from .teachers import Exchanged, Target, Teacher

__all__ = [
    "ON_SAMPLES",
    "Exchanged",
    "Knowledge",
    "KnowledgeStack",
    "Target",
    "Teacher",
    "scattered",
    "stack",
    "to_arrays",
    "to_record",
    "to_tensor",
]
