"""FedPer and FedRep of FedProto's table: the convolutions are shared, both linear layers are not.

Inferred from what the table says is sent: 5,280 numbers a client and round for FedPer, which are
the convolutions of its network; 5,500 for FedRep. `fedper` and `fedrep` themselves share all below
the last layer.
"""

from torch import Tensor, nn

from ...clients.exchange.body import Body
from ...clients.exchange.head_then_body import HeadThenBody
from ...models.flat import floats
from ...models.parts import others
from ...strategies import fedper, fedrep

CONVOLUTIONS = "first.", "second."


def convolutions(model: nn.Module) -> dict[str, Tensor]:
    """Return what is shared, by name.

    Examples
    --------
    >>> from .fedproto_protocol import Net
    >>> sum(value.numel() for value in convolutions(Net()).values())
    5280
    """
    return {name: one for name, one in floats(model).items() if name.startswith(CONVOLUTIONS)}


class Shared:
    """What is shared, of exchanges and strategies."""

    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the convolutions."""
        return convolutions(model)

    def above(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the linear layers."""
        return others(model, convolutions(model))


class Convolutions(Shared, Body):
    """Uploads the convolutions."""


class ConvolutionsLast(Shared, HeadThenBody):
    """Uploads the convolutions, which are trained after the linear layers."""

    from_model = True


class FedPer(Shared, fedper.FedPer):
    """Averaged convolutions below each client's own linear layers."""

    exchange = f"{__name__}:Convolutions"


class FedRep(Shared, fedrep.FedRep):
    """Averaged convolutions; the linear layers are trained before them."""

    exchange = f"{__name__}:ConvolutionsLast"
