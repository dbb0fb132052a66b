"""FedBN: clients share all but BatchNorm, whose parameters and statistics stay with each.

Li, Jiang, Zhang, Kamp, Dou, "FedBN: Federated Learning on Non-IID Features via Local Batch
Normalization", ICLR 2021, arXiv 2102.07623. Confidence: certain (official code)::

    upload   all but BatchNorm's scales, shifts, running means and variances
    server   w = mean_n w_n

The official mean is uniform, and tells BatchNorm by "bn" in a layer's name, so that one within a
``Sequential`` is shared by mistake. Here a layer is what its class is. A model without such layers
is refused: all of it would be shared, as in FedAvg. A client that has not trained yet has no
statistics of its own. ``model=auto`` stands for ``resnet8``, the smallest of the zoo that has them.
"""

from torch import Tensor, nn

from ..models.parts import unnormalised
from .starting import CommonStart, Weighting


class FedBN(CommonStart):
    """Averaged models around each client's own BatchNorm.

    Parameters
    ----------
    weighting : {"uniform", "samples"}
        Whether clients count evenly, or by their samples.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2))
    >>> list(FedBN().part(model))
    ['0.weight']
    """

    exchange = "beside_norms"
    usual_model = "resnet8"
    parts = "layers beside BatchNorm"

    def __init__(self, weighting: Weighting = "uniform", **base: float | None) -> None:
        super().__init__(weighting, **base)

    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what is in no BatchNorm."""
        return unnormalised(model)
