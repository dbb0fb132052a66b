"""Base of FedAvg with a local loss: methods whose clients add to their loss, and nothing else.

The server is Flower's FedAvg. Clients fit the model they receive, with a term that looks at that
model as it came (`fedkd.clients.exchange.received`).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from flwr.serverapp import strategy as flower

from ..knowledge import CLASS_SCORES
from ..rounds.server import Server
from ..rounds.timing import Workload
from .flower_adapter import FlowerStrategy

MANY = 3
"""Classes of which two are wrong, and can be compared."""


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
    kinds: ClassVar[tuple[str, ...] | None] = CLASS_SCORES
    frozen: int = 1

    def __init__(self, **exchange: Any) -> None:
        super().__init__(flower.FedAvg())
        self.pass_on(**exchange)

    def refusal(self, server: Server) -> str | None:
        """Refuse two classes where the wrong ones are compared: there is only one."""
        if self.needs_classes and server.classes < MANY:
            what = "compares what models think of the wrong classes"
            return f"{what}, and the data have {server.classes - 1}; use fedavg"
        return super().refusal(server)

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return all samples, with the frozen models' forward passes."""
        del number
        return [Workload(size, passes=float(self.frozen)) for size in sizes]
