"""FedAvg: the mean of the clients' parameters, weighted by their number of samples.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
AISTATS 2017. Confidence: certain (Flower's implementation): ``w = sum_n (n_n / n) w_n``.
"""

from flwr.serverapp import strategy as flower

from .flower_adapter import FlowerStrategy


class FedAvg(FlowerStrategy):
    """Flower's FedAvg."""

    sums_only = True

    def __init__(self) -> None:
        super().__init__(flower.FedAvg())
