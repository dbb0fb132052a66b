"""FedProx: FedAvg whose clients are held near the global model.

Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020. Confidence: certain
(Flower's implementation). Clients add ``proximal_mu / 2 * ||w - w_global||^2`` to their loss.
"""

from flwr.serverapp import strategy as flower

from .flower_adapter import FlowerStrategy


class FedProx(FlowerStrategy):
    """Flower's FedProx.

    Parameters
    ----------
    proximal_mu : float
        Weight of the proximal term, >= 0; 0 is FedAvg.
    """

    sums_only = True

    def __init__(self, proximal_mu: float = 0.1) -> None:
        if not proximal_mu >= 0:
            raise ValueError(f"proximal_mu={proximal_mu} must be at least 0")
        super().__init__(flower.FedProx(proximal_mu=proximal_mu))
