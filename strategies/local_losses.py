"""Base of FedAvg with a local loss: methods whose clients add to their loss, and nothing else.

The server is Flower's FedAvg. Clients fit the model they receive, with a term that looks at that
model as it came (`fedkd.clients.exchange.received`).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from flwr.serverapp import strategy as flower

from ..clients.exchange import Exchange
from ..plugins.table import SEAMS
from ..rounds.timing import Workload
from .flower_adapter import FlowerStrategy


class LocalLossFedAvg(FlowerStrategy):
    """Flower's FedAvg, and an exchange that adds to the clients' loss.

    Parameters
    ----------
    **exchange
        Parameters of the exchange, which checks them.

    Attributes
    ----------
    frozen : int
        Models that a fit looks at beside the one it trains.
    """

    sums_only = True
    frozen: ClassVar[int] = 1

    def __init__(self, **exchange: Any) -> None:
        super().__init__(flower.FedAvg())
        self.node = {"name": self.exchange, **exchange}
        made: Exchange = SEAMS["exchanges"].create(self.node)
        del made

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        return dict(self.node)

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return all samples, with the frozen models' forward passes."""
        del number
        return [Workload(size, passes=float(self.frozen)) for size in sizes]
