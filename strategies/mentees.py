"""Base of FML and FedKD, whose clients share a second, small model: the mentee."""

from collections.abc import Hashable, Sequence

from torch import Tensor

from ..errors import ConfigError
from ..models.flat import flatten
from ..rounds.server import Server
from ..rounds.timing import Workload
from .parametric import ParameterFusion


class MenteeFusion(ParameterFusion):
    """Averages the clients' mentees; their own models are nobody else's.

    Parameters
    ----------
    mentee : str
        The shared model, as for ``model=``; auto = mlp, for texts embedding_bag.
    **base
        See `FusionStrategy`.
    """

    needs_classes = True
    homogeneous = False
    one_model = False

    def __init__(self, mentee: str = "auto", **base: float | None) -> None:
        super().__init__(**base)
        self.mentee = mentee

    def refusal(self, server: Server) -> str | None:
        """Refuse a shared model that cannot be built for this data."""
        try:
            server.check_model(self.mentee)
        except ConfigError as error:
            return f"strategy.mentee={str(error).removeprefix('model=')}"
        return None

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return all samples; the mentee is trained on them, too."""
        del number
        return [Workload(size, beside=self.mentee) for size in sizes]

    def group(self, server: Server, client: int) -> Hashable:
        """Return the same for everybody: all share one mentee, whatever their own model."""
        del server, client
        return self.mentee

    def first(self, server: Server, client: int) -> Tensor:
        """Return the mentee's first parameters ``[size]``."""
        del client
        return flatten(server.model(self.mentee))
