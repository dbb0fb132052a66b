"""KAFAL with soft labels going up and a model coming down: an extension of ours.

Between ``kafal`` and ``kafal_soft``. Clients share soft labels on the transfer set, but the server
has a model of its own, Omega, learn their consensus and sends that. At the clients all is as in
``kafal``: they start from Omega, it compensates them, and samplers compare it with their own.
Confidence: a construction, not a published method::

    p(x)  = sum_k v_k p_k(x)                                v as in kafal_soft: samples or classes
    Omega <- argmin T^2 * KL( p(x) || softmax(Omega(x) / T) )      on the round's transfer samples

Clients and server have one architecture, or Omega could not be where a client starts from. Soft
labels go up, so this saves bytes one way only.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.nn import functional as F

from ..errors import RunError
from ..knowledge import Knowledge, KnowledgeStack
from ..rounds.protocol import RoundPlan
from ..rounds.server import Study, study
from .kafal import KAFAL
from .kafal_soft import consensus


class KAFALStudent(KAFAL):
    """Active learning with a model at the server that learns the clients' soft labels.

    Parameters
    ----------
    aggregation : {"samples", "classes"}
        Weights of the consensus, see ``kafal_soft``.
    server_epochs : int
        Passes over the round's transfer samples at the server, >= 0.
    server_lr : float
        The server's learning rate, > 0.
    temperature : float or None
        Softmax temperature of soft labels and student, > 0; None = ``distil.temperature``.
    **kafal
        See `KAFAL`.
    """

    exchange = "kcfu_student"
    lesson_kind = "parameters"
    uses_transfer = True
    tempers = True
    # with fewer, Omega calls all samples one class, and what compensates absent ones weighs nothing
    brief: ClassVar[Mapping[str, Any]] = {**KAFAL.brief, "server_epochs": 4}

    def __init__(
        self,
        *,
        aggregation: Literal["samples", "classes"] = "samples",
        server_epochs: int = 10,
        server_lr: float = 0.05,
        temperature: float | None = None,
        **kafal: Any,
    ) -> None:
        super().__init__(**kafal)
        for name, value in {"server_lr": server_lr, "temperature": temperature}.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value} must be greater than 0")
        if server_epochs < 0:
            raise ValueError(f"server_epochs={server_epochs} must be at least 0")
        self.aggregation, self.temperature = aggregation, temperature
        self.server_epochs, self.server_lr = server_epochs, server_lr

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        return super().exchange_node() | {"share_counts": self.aggregation == "classes"}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the consensus ``[samples, classes]``."""
        return consensus(knowledge, by_classes=self.aggregation == "classes")

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Return Omega after it has learnt the consensus, ``{0: [size]}``.

        Raises
        ------
        RunError
            If it diverges.
        """
        del admitted
        model = plan.server.filled(0, self.state["shared.0"])
        task = Study(
            model,
            plan.server.transfer(plan.sample_ids),
            {"consensus": shared[0]},
            partial(student_loss, temperature=self.temperature or plan.temperature),
            epochs=self.server_epochs,
            lr=self.server_lr,
            seed=plan.seed,
        )
        ((vector, _),) = plan.blocks.map(study, [task])
        if not vector.isfinite().all():
            raise RunError(
                f"strategy KAFALStudent: the server's model diverged in round {plan.number}; try a "
                f"smaller strategy.server_lr (it is {self.server_lr:g})"
            )
        return {0: vector}


def student_loss(logits: Tensor, batch: dict[str, Tensor], temperature: float) -> Tensor:
    """Return ``T^2 * KL(consensus || softmax(logits / T))``, mean over the batch, in nats.

    Examples
    --------
    >>> import torch
    >>> soft = torch.tensor([[0.25, 0.75]])
    >>> same = student_loss(2 * soft.log(), {"consensus": soft}, temperature=2.0)
    >>> abs(same.item()) < 1e-6
    True
    """
    student = (logits / temperature).log_softmax(dim=-1)
    return temperature**2 * F.kl_div(student, batch["consensus"], reduction="batchmean")
