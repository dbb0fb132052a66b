"""MOON: clients' features stay near the global model's, and leave those of their last own model.

Li, He, Song, "Model-Contrastive Federated Learning", CVPR 2021, arXiv 2103.16257. Confidence:
certain (official code)::

    r, r_g, r_p = features of a batch by the model that fits, the received one, the client's last
    g, p        = e^{cos(r, r_g) / tau}, e^{cos(r, r_p) / tau}
    loss_n      = CE(z_n, y) - mu log( g / (g + p) )
    w           = sum_n samples_n * w_n / sum_n samples_n               Flower's FedAvg

mu is 1 (5 for CIFAR-10 in the official README) and tau 0.5. A client keeps the model that its last
fit ended with; one that was away has its old one, and one that fits for the first time has none:
its loss then is cross-entropy alone, as in the official first round.

Deviation: there all models, those of the baselines too, get two more linear layers, and r is what
comes out of them, 256 numbers. Here r is what goes into a model's last linear layer, whatever that
is: a model of one's own that has the two layers before it gets the paper's. Both other models
predict in evaluation mode. Where a text has features at every place, all places count alike.
"""

from collections.abc import Sequence

from torch import nn

from ..config import RunConfig
from ..models.features import common_width
from .local_losses import LocalLossFedAvg


class MOON(LocalLossFedAvg):
    """FedAvg with a contrast between the received model and the client's last.

    Parameters
    ----------
    mu : float
        Weight of the contrast, >= 0; 0 is FedAvg.
    tau : float
        Temperature of the contrast, > 0.

    Examples
    --------
    >>> MOON(mu=5.0).exchange_node()
    {'name': 'contrastive', 'mu': 5.0, 'tau': 0.5}
    """

    exchange = "contrastive"
    kinds = None
    frozen = 2

    def __init__(self, mu: float = 1.0, tau: float = 0.5) -> None:
        super().__init__(mu=mu, tau=tau)

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Say what is compared."""
        del config
        width = common_width(models)
        return [f"moon compares the {width} features that go into the model's last linear layer"]
