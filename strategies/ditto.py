"""Ditto: each client trains a model of its own that is pulled towards the shared one.

Li, Hu, Beirami, Smith, "Ditto: Fair and Robust Federated Learning Through Personalization", ICML
2021, arXiv 2012.04221. Confidence: certain (official code)::

    shared   w as in FedAvg
    own      v <- v - lr * (grad F_n(v) + lam * (v - w))       w as it was sent in this round
    server   w = sum_n samples_n * w_n / sum_n samples_n

Either takes as many steps, on the same batches. What is measured, and what `RunResult.model`
returns, is v; that of a client which is away stays as it is. The official server draws clients in
proportion to their samples and takes a plain mean; here they are drawn evenly, and weigh by their
samples: once, not twice. Its ``lam`` that is chosen anew in every step is not here.
"""

from .twins import TwinFusion


class Ditto(TwinFusion):
    """A shared model, and one for each client that is held near it.

    Parameters
    ----------
    lam : float
        Weight of the pull towards the shared model, at least 0; 0 is local training.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> Ditto(lam=0.1).exchange_node()
    {'name': 'pulled', 'lam': 0.1}
    """

    exchange = "pulled"

    def __init__(self, lam: float = 1.0, **base: float | None) -> None:
        super().__init__(**base)
        self.pass_on(lam=lam)
