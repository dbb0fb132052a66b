"""KAFAL on soft labels: an extension of ours, for clients with different architectures.

The published KAFAL shares parameters (``strategy=kafal``). What its two parts need, though, are
two functions of a client's private samples: a local model f and a global one g. Here clients share
soft labels on the transfer set, g is the client's own model right after digesting the consensus,
and f the same model after its next private training. Confidence: a construction, not a published
method::

    teacher(x) = sum_k v_k p_k(x)                                       p_k = softmax(f_k(x) / T)
    samples    v_k = n_k / sum_j n_j                                    n_k: labelled samples
    classes    v_ky = n_ky / sum_j n_jy for each class y, rows normalised afterwards
    knfu       v_mk = KnFu's weights, one mixture per client m

(``strategy=kafal_student`` instead has a model at the server learn the consensus, and sends that.)

Counting by class matters because balanced softmax gives a class without labels no gradient: what a
client says about it means nothing. It makes clients share their label histograms.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from ..knowledge import KnowledgeStack
from ..maths.mixing import mix
from .active import ActiveLearning
from .knfu import KnFu


class KAFALSoft(ActiveLearning):
    """Active learning with soft labels in place of parameters.

    Parameters
    ----------
    aggregation : {"samples", "classes", "knfu"}
        Weights of the consensus.
    temperature : float or None
        Softmax temperature of the uploaded soft labels, > 0; None = ``distil.temperature``.
    **active
        See `ActiveLearning`.

    Attributes
    ----------
    state : dict
        ``labelled`` ``[clients]``: how many labelled samples each client has.
    """

    exchange = "kcfu_labels"

    def __init__(
        self,
        *,
        aggregation: Literal["samples", "classes", "knfu"] = "samples",
        temperature: float | None = None,
        persist: bool = False,
        **active: Any,
    ) -> None:
        super().__init__(persist=persist, **active)
        if temperature is not None and not temperature > 0:
            raise ValueError(f"temperature={temperature} must be greater than 0")
        self.aggregation, self.temperature = aggregation, temperature

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        return super().exchange_node() | {"share_counts": self.aggregation == "classes"}

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the consensus ``[samples, classes]``, or one per client with KnFu's weights."""
        if self.aggregation == "knfu":
            return mix(KnFu().weights(knowledge), knowledge.soft_labels)
        return consensus(knowledge, by_classes=self.aggregation == "classes")


def consensus(knowledge: KnowledgeStack, by_classes: bool) -> Tensor:
    """Return the mean soft labels ``[samples, classes]``, by labelled samples or class by class."""
    samples = knowledge.extras["samples"]
    mean = ((samples / samples.sum()).unsqueeze(-1) * knowledge.soft_labels).sum(dim=0)
    return by_class(knowledge.soft_labels, knowledge.counts, mean) if by_classes else mean


def by_class(soft_labels: Tensor, counts: Tensor, fallback: Tensor) -> Tensor:
    """Return ``sum_k n_ky p_ky / sum_k n_ky`` for each class y, rows normalised.

    Parameters
    ----------
    soft_labels : Tensor
        ``[n, samples, classes]``.
    counts : Tensor
        ``[n, classes]``, >= 0.
    fallback : Tensor
        ``[samples, classes]``, for the classes that nobody has labels of.

    Examples
    --------
    >>> p = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]])
    >>> by_class(p, torch.tensor([[1.0, 0.0], [1.0, 2.0]]), p.mean(dim=0))
    tensor([[0.5833, 0.4167]])
    """
    sums = counts.sum(dim=0)
    weighted = (counts.unsqueeze(1) * soft_labels).sum(dim=0) / sums.clamp_min(1)
    values = torch.where(sums > 0, weighted, fallback)
    return values / values.sum(dim=-1, keepdim=True)
