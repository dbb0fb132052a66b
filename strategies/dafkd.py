"""DaFKD: logits weighted by each client's own discriminator.

Wang et al., "DaFKD: Domain-Aware Federated Knowledge Distillation", CVPR 2023. Confidence: certain
(official code)::

    w_n(x)     = D_n(x) / sum_m D_m(x)             D_n(x) in (0, 1): x looks like client n's data
    teacher(x) = softmax( sum_n w_n(x) f_n(x) / T )                  T = 10
    loss       = KL( teacher || student )                         the paper: T^2 * KL

Deviations. In the paper a generator, shared through FedAvg, makes the samples to distil from, and
the discriminators learn to tell private samples from its; here the transfer set takes its place in
both. So there is nothing adversarial: a discriminator is a small network on the flattened inputs,
trained once on as many private as public samples a batch, where the paper's is a head of the
classifier with a gradient penalty. It stops early, since it must not learn the transfer set by
heart. The paper distils at the server, into the averaged model; here each client learns from the
teacher. Its KL is the mean over samples and classes; here it is over samples, so C times stronger.
And its factor T^2 belongs to its learning rate of 1e-5: with that of private training, thousands of
times larger, clients would forget all else, so it is left out (``objective.scale=true`` has it).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ..knowledge import KnowledgeStack
from ..maths.density import score_weights
from ..maths.robust import weighted_mean
from .base import FusionStrategy


class DaFKD(FusionStrategy):
    """Mean logits, weighted for each sample by the clients' discriminators.

    Parameters
    ----------
    steps : int
        Training steps of a discriminator, at least 0.
    lr : float
        Its learning rate (Adam), > 0.
    temperature : float
        T of the distillation, > 0; it takes the place of ``distil.temperature``.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]])
    >>> scores = torch.tensor([[0.9], [0.1]])
    >>> DaFKD().fuse(
    ...     KnowledgeStack("logits", logits, [0, 1], torch.arange(1), scores=scores)
    ... )
    tensor([[1.8000, 0.2000]])
    """

    exchange = "discriminated_logits"
    needs_numbers = True
    per_sample = True
    tempers = True
    brief: ClassVar[Mapping[str, Any]] = {"steps": 20}
    sums_only = True

    def __init__(self, steps: int = 300, lr: float = 1e-3, temperature: float = 10.0) -> None:
        super().__init__(temperature=temperature)
        self.discriminator = {"steps": steps, "lr": lr}

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with the parameters of the discriminator."""
        return {"name": self.exchange, **self.discriminator}

    def objective_node(self) -> dict[str, Any]:
        """Return the KL at the method's own temperature."""
        return {"name": self.objective, "temperature": self.temperature, "scale": False}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the weighted mean logits ``[samples, classes]``."""
        assert knowledge.scores is not None
        return weighted_mean(knowledge.logits, score_weights(knowledge.scores)).float()
