"""FedRep: clients learn their own head first, then the body that they share.

Collins, Hassani, Mokhtari, Shakkottai, "Exploiting Shared Representations for Personalized
Federated Learning", ICML 2021, arXiv 2102.07078. Confidence: certain (official code)::

    client   E - E_r epochs of the head, the body frozen; then E_r of the body, the head frozen
    upload   the body: all below the last linear layer
    server   body = mean_n body_n

E is ``fit.epochs``. The official mean is unweighted, and E_r is 1 (of E = 11 on CIFAR-10). A last
round there trains all clients' heads for 10 epochs before they are measured: ``tune=10`` does that
at every measurement. The body's statistics of BatchNorm, which the official nets do not have, are
frozen with it.
"""

from ..clients.exchange.shared_part import Weighting
from .bodies import TunedBodies


class FedRep(TunedBodies):
    """Averaged bodies below heads that are trained before them.

    Parameters
    ----------
    body_epochs : int
        The last epochs of a fit, which are the body's, at least 1; those before are the head's.
    tune : int
        Epochs of the head alone before a client is measured; see `TunedBodies`.
    weighting : {"uniform", "samples"}
        Whether clients count evenly, or by their samples.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> FedRep(body_epochs=2).exchange_node()["body_epochs"]
    2
    """

    exchange = "head_then_body"

    def __init__(
        self,
        body_epochs: int = 1,
        tune: int = 0,
        weighting: Weighting = "uniform",
        **base: float | None,
    ) -> None:
        super().__init__(tune, weighting=weighting, **base)
        self.pass_on(body_epochs=body_epochs, tuned="head")
        self.least_epochs = body_epochs + 1  # one for the head
