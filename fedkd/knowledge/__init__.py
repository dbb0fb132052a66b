"""What travels between clients and server: its kinds, how it is stacked, admitted and packed."""

from .arrays import to_arrays, to_tensor
from .kinds import CLASS_SCORES, NUMBERS, Kind, kind_named
from .masks import Masks
from .predictions import Predictions
from .related import Kernels, RelatedLogits
from .stacks import Knowledge, KnowledgeStack, scattered, stack, to_record
from .teachers import Exchanged, Target, Teacher

__all__ = [
    "CLASS_SCORES",
    "NUMBERS",
    "Exchanged",
    "Kernels",
    "Kind",
    "Knowledge",
    "KnowledgeStack",
    "Masks",
    "Predictions",
    "RelatedLogits",
    "Target",
    "Teacher",
    "kind_named",
    "scattered",
    "stack",
    "to_arrays",
    "to_record",
    "to_tensor",
]
