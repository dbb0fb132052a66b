"""EdgeFD: each client labels what is near the centres of its own data. A construction.

"EdgeFD", FLTA 2025, arXiv 2508.14769. Confidence: a construction. **Certain** (the abstract):
Selective-FD's client selector is a filter by k-means, far cheaper than a density ratio, and the
server selects nothing. **Inferred**: all else, as no formula and no code are publicly confirmed::

    c_1 ... c_k = k-means of client n's private samples
    client n keeps x  if  min_j |x - c_j| <= q-quantile of the same over its private samples
    teacher(x)        =   mean of p_n(x) over the clients that keep x

Samples are flattened inputs, standardised as the run's data are, so what a client keeps depends on
its data alone and is decided once. A sample that nobody keeps has no teacher. With q = 1 a client
keeps each public sample that is one of its own.

Traps. A centre for every private sample would leave each at distance 0, and nothing near enough: a
client of fewer than 4 k samples has fewer centres.
"""

from typing import Any

from .senders import SendersMean


class EdgeFD(SendersMean):
    """Mean soft labels of those near whose data a sample is.

    Parameters
    ----------
    quantile : float
        q, the share of its private samples that a client would keep, in [0, 1].
    centroids : int
        k, at least 1.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> import torch
    >>> from fedkd.knowledge import KnowledgeStack
    >>> labels, who = torch.tensor([[[0.8, 0.2]], [[0.0, 0.0]]]), torch.tensor([[True], [False]])
    >>> EdgeFD().fuse(KnowledgeStack("soft_labels", labels, [0, 1], torch.arange(1), who))
    tensor([[0.8000, 0.2000]])
    """

    exchange = "clustered_labels"

    def __init__(self, quantile: float = 0.75, centroids: int = 10, **base: float | None) -> None:
        super().__init__(**base)
        self.selector = {"quantile": quantile, "centroids": centroids}

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with the client selector's parameters."""
        return {"name": self.exchange, **self.selector}
