"""FedNTD: clients keep what the global model thinks of the wrong classes.

Lee, Jeong, Shin, Bae, Yun, "Preservation of the Global Knowledge by Not-True Distillation in
Federated Learning", NeurIPS 2022, arXiv 2106.03097. Confidence: certain (official code)::

    loss_n = CE(z_n, y) + beta tau^2 KL( s(z_g without y / tau) || s(z_n without y / tau) )
    w      = sum_n samples_n * w_n / sum_n samples_n                    Flower's FedAvg

z_g are the logits of the model that the client received, which stays as it is while it fits. beta
and tau are 1 in the official configurations. Nothing is remembered: clients that were away, or are
new, do as all others.

Deviation: the received model predicts in evaluation mode, where the official code leaves the mode
to chance (it matters with BatchNorm and dropout).
"""

from .local_losses import LocalLossFedAvg


class FedNTD(LocalLossFedAvg):
    """FedAvg with a divergence from the received model, among the wrong classes.

    Parameters
    ----------
    beta : float
        Weight of the divergence, >= 0; 0 is FedAvg.
    tau : float
        Softmax temperature of both models, > 0.

    Examples
    --------
    >>> FedNTD(tau=3.0).exchange_node()
    {'name': 'not_true', 'beta': 1.0, 'tau': 3.0}
    """

    exchange = "not_true"
    needs_classes = True

    def __init__(self, beta: float = 1.0, tau: float = 1.0) -> None:
        super().__init__(beta=beta, tau=tau)
