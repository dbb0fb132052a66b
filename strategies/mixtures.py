"""Base of methods whose teachers are mixtures of what clients upload: soft labels, or logits."""

from typing import Any, ClassVar, Literal

from .base import FusionStrategy

Mixed = Literal["soft_labels", "logits"]


class MixingFusion(FusionStrategy):
    """Mixes soft labels or logits; weights come from soft labels either way.

    `KnowledgeStack.soft_labels` is ``softmax`` of logits where those are exchanged.

    Parameters
    ----------
    exchange : {"soft_labels", "logits"}
        What clients upload and is mixed. ``objective=auto`` is KL for soft labels, and FedMD's L1
        for logits.
    **base
        See `FusionStrategy`.
    """

    EXCHANGES: ClassVar[dict[str, str]] = {"soft_labels": "soft_labels", "logits": "logits"}

    def __init__(self, *, exchange: Mixed = "soft_labels", **base: Any) -> None:
        super().__init__(**base)
        self.exchange = self.EXCHANGES[exchange]
        self.objective = {"soft_labels": "kl", "logits": "l1"}[exchange]
