"""FedAdam: the mean change of the parameters is a gradient for Adam at the server.

Reddi et al., "Adaptive Federated Optimization", ICLR 2021. Confidence: certain (Flower's
implementation).
"""

from flwr.serverapp import strategy as flower

from .flower_adapter import FlowerStrategy


class FedAdam(FlowerStrategy):
    """Flower's FedAdam.

    Parameters
    ----------
    eta : float
        Server learning rate, > 0.
    beta_1, beta_2 : float
        Momentum of the first and second moment, in [0, 1).
    tau : float
        Degree of adaptability, > 0.
    """

    sums_only = True

    def __init__(
        self, eta: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.99, tau: float = 1e-3
    ) -> None:
        if not (eta > 0 and tau > 0 and 0 <= beta_1 < 1 and 0 <= beta_2 < 1):
            raise ValueError("eta and tau must be greater than 0, beta_1 and beta_2 in [0, 1)")
        inner = flower.FedAdam(eta=eta, beta_1=beta_1, beta_2=beta_2, tau=tau)
        super().__init__(inner)
