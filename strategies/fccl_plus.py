"""FCCL+: FCCL, and samples shall be as alike to a client as they are to others.

Huang, Ye, Shi, Du, "Generalizable Heterogeneous Federated Cross-Correlation and Instance Similarity
Learning", TPAMI 2023 (FCCL+). Confidence: certain (official code)::

    teacher        = mean over n of ( f_n(x), A_n )     A_n: cosines of all pairs of samples
    public loss    = cross-correlation + weight * KL of similarities (`fedkd.distillation`)
    private loss   = CE + tau^2 * KL( previous net || net ) among the wrong classes        tau = 3

The previous net is the client's after its last fit, before it learnt from others; at first there is
none. A client that was away keeps its net.

Deviations. As for `fccl`; here the teacher's own part is the client's upload, there it is its net
of the moment. There features of one public batch are compared, here a client uploads the cosines of
all pairs of the round's samples, 4 bytes each: set ``transfer.per_round`` to a few hundred. Nets of
one architecture are averaged there before the private step, here never.

Traps. The public private loss is ``tau^2 sum_{c != y} q_c ln(q_c / p_c)`` with p and q over all
classes: no divergence, it falls below 0 where p has much mass on wrong classes, and so it pays for
being wrong. Here p and q sum to 1 over the wrong classes. See `fccl` for the others.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..config import RunConfig
from ..errors import ConfigError
from ..knowledge import KnowledgeStack
from ..rounds.server import Server
from ..rounds.timing import Workload
from .base import FusionStrategy
from .local_losses import MANY

MOST = 2000
"""Transfer samples of a round; beyond, a client's upload has more than 16 MB."""


class FCCLPlus(FusionStrategy):
    """Mean logits and similarities; the previous net teaches what it thinks of wrong classes.

    Parameters
    ----------
    weight : float
        Of the previous net in the private loss, >= 0.
    tau : float
        Softmax temperature there, > 0.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[[2.0, 0.0, 1.0]], [[0.0, 4.0, 1.0]]])
    >>> FCCLPlus().fuse(KnowledgeStack("related_logits", values, [0, 1], torch.arange(1)))
    tensor([[1., 2., 1.]])
    """

    exchange = "similarities"
    objective = "instance_similarity"
    needs_classes = True

    def __init__(self, weight: float = 1.0, tau: float = 3.0, **base: float | None) -> None:
        super().__init__(**base)
        self.recall = {"weight": weight, "tau": tau}

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        return {"name": self.exchange, **self.recall}

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Refuse rounds of so many samples that their pairs are too many."""
        del models
        asked = config.transfer.per_round or config.transfer.size or 0
        if asked > MOST:
            problem = f"fccl_plus compares all pairs of {asked} samples; set it to at most {MOST}"
            raise ConfigError("transfer.per_round", config.transfer.per_round, problem)
        return []

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return all samples, with the previous net's forward pass."""
        return [Workload(size, passes=float(number > 1)) for size in sizes]

    def refusal(self, server: Server) -> str | None:
        """Refuse two classes: there is one wrong one then."""
        if server.classes < MANY:
            return f"compares wrong classes, and the data have {server.classes - 1}; use fccl"
        return super().refusal(server)

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean ``[samples, classes + samples]``."""
        return knowledge.values.mean(dim=0)
