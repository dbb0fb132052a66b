"""CFD: soft labels of few bits, and a model at the server between the two directions.

Sattler, Marban, Rischke, Samek, "Communication-Efficient Federated Distillation", 2020, arXiv
2012.00632. Confidence: certain for the simplified version (the SCARLET authors' re-implementation:
hard labels up, the server model's soft labels down), inferred for the quantisation with b_up and
b_down bits::

    up       q_n(x) = Q(p_n(x), b_up)
    server   f_0 <- argmin CE( softmax f_0(x), mean_n q_n(x) )     on the transfer set
             (of soft labels at temperature T: T^2 * CE with softmax f_0(x) / T)
    down     teacher(x) = Q(softmax f_0(x), b_down)

``Q(p, b)`` is the nearest row of multiples of ``1/(2^b - 1)`` that sums to 1; at one bit it is the
one-hot row of the largest entry.

This file makes the values; the codec ``quantised`` packs them on their way.

Deviations. The original also sends only what changed since the round before (delta coding); that
is left out.
"""

from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ..codecs.quantisation import BITS, quantised
from ..knowledge import KnowledgeStack, Teacher
from ..rounds.protocol import RoundPlan
from .server_model import ServerStudent


class CFD(ServerStudent):
    """Quantised labels train the server's model; its quantised soft labels are the teacher.

    Parameters
    ----------
    b_up : int
        Bits of what clients upload, 1 to 16 or 32 (not quantised); 1 is hard labels.
    b_down : int
        Bits of the teacher, likewise.
    **base
        See `ServerStudent`.

    Examples
    --------
    >>> import torch
    >>> votes = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
    >>> CFD().fuse(KnowledgeStack("soft_labels", votes, [0, 1, 2, 3], torch.arange(1)))
    tensor([[0.5000, 0.5000]])
    """

    exchange = "quantised_labels"
    per_sample = True
    sums_only = True

    def __init__(self, b_up: int = 1, b_down: int = 32, **base: Any) -> None:
        super().__init__(**base)
        for name, bits in {"b_up": b_up, "b_down": b_down}.items():
            if bits not in BITS:
                raise ValueError(f"{name}={bits} must be one of 1 to 16, or 32")
        self.b_up, self.b_down = b_up, b_down

    def softness(self, kind: str, default: float) -> float:
        """Return 1 for hard labels, which no temperature changes."""
        return 1.0 if self.b_up == 1 else super().softness(kind, default)

    def teacher_softness(self, kind: str, default: float) -> float:
        """Return 1: the teacher is a model of the server's own."""
        del kind, default
        return 1.0

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the temperature, where labels are hard."""
        found = super().unused(kind)
        if self.b_up == 1:
            why = "has no effect on hard labels; set strategy.b_up above 1, or leave it out"
            found["temperature"] = why
        return found

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its bits."""
        return {"name": self.exchange, "bits": self.b_up}

    def compress_node(self) -> dict[str, Any] | None:
        """Return the codec that packs both ways, without loss; 32 bits stay as they are."""
        up, down = self.b_up < 32, self.b_down < 32
        if not up and not down:
            return None
        bits = {
            "bits": self.b_up if up else self.b_down,
            "bits_down": self.b_down if down else None,
        }
        return {"name": "quantised", **bits, "scale": "unit", "up": up, "down": down}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the clients' mean ``[samples, classes]``, which the server's model learns from."""
        return knowledge.soft_labels.mean(dim=0)

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Return the soft labels of the server's model, after it has learnt from the mean."""
        temperature = self.softness(knowledge.kind, plan.temperature)
        loss = partial(soft_cross_entropy, temperature=temperature)
        logits = self.learnt(plan, {"target": teacher.values}, loss)
        values = quantised(logits.softmax(dim=-1), self.b_down)
        return Teacher("soft_labels", values, knowledge.clients)


def soft_cross_entropy(
    logits: Tensor, batch: dict[str, Tensor], temperature: float = 1.0
) -> Tensor:
    """Return the mean of ``-T^2 * sum_c target_c log softmax(logits / T)_c`` over the batch."""
    return temperature**2 * F.cross_entropy(logits / temperature, batch["target"])
