"""Base of the methods whose clients share a part of their model, and keep the rest."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable
from typing import ClassVar

from torch import Tensor, nn

from ..models.flat import pack, shapes
from ..rounds.server import Server
from .parametric import ParameterFusion


class PartFusion(ParameterFusion):
    """Averages a part of the clients' models; clients whose part has one layout form a group.

    A client that is alone in its group trains as it would locally; a run where that is everybody's
    lot is refused.

    Attributes
    ----------
    parts : str
        What the part is called, in the plural.
    """

    homogeneous = False
    one_model = False
    sums_only = True
    kinds = None
    parts: ClassVar[str] = "parts"

    @abstractmethod
    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what is shared of a model, by name: the tensors themselves."""

    def group(self, server: Server, client: int) -> Hashable:
        """Return names and shapes of the client's part."""
        return shapes(self.part(server.instances[client]))

    def first(self, server: Server, client: int) -> Tensor:
        """Return the part ``[size]`` that the client's group starts from."""
        return pack(self.part(server.initial(client)))

    def refusal(self, server: Server) -> str | None:
        """Refuse a run in which no two clients could share anything."""
        sizes = Counter(self.groups(server).values())
        if server.clients == 1 or max(sizes.values()) > 1:
            return None
        found = ", ".join(self.described(model) for model in server.instances)
        return f"no two clients have {self.parts} of one shape ({found}): there is nothing to share"

    def described(self, model: nn.Module) -> str:
        """Return a few words on the size of a model's part."""
        return f"{len(pack(self.part(model)))} numbers"
