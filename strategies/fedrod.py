"""FedRoD: a balanced model for all, and a second head that is each client's own.

Chen, Chao, "On Bridging Generic and Personalized Federated Learning for Image Classification", ICLR
2022, arXiv 2107.00778. Confidence: secondary (two public re-implementations; the official
repository has no code)::

    generic   CE(z_G + gamma * ln n_c)                     n_c the client's samples of class c
    personal  CE(stopgrad(z_G) + h_P(stopgrad(e)))          e what the last layer is fed
    server    w = sum_n samples_n * w_n / sum_n samples_n   of all but h_P
    measured  z_G + h_P(e), or z_G

A class that a client does not have gets ln 0, and no gradient. Counts are those of all samples that
the client trains on; one re-implementation counts with the last batch left out, so that a class may
be met that has none. h_P begins with zeros, and so predictions with z_G; there it begins as a copy
of the shared head, and predictions with twice that. `RunResult.model` returns the shared model. The
variant whose h_P is made by a hypernetwork is not here.
"""

from ..clients.exchange.two_heads import Measured
from .twins import TwinFusion


class FedRoD(TwinFusion):
    """A shared model that sees all classes alike, and a head of each client's own beside its.

    Parameters
    ----------
    gamma : float
        Weight of the classes' frequencies in the shared model's loss, at least 0; 0 is FedAvg.
    measured : {"personal", "generic"}
        Whether clients are measured with both heads, or with the shared model as they have it.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> FedRoD(gamma=0.5).exchange_node()
    {'name': 'two_heads', 'gamma': 0.5, 'measured': 'personal'}
    """

    exchange = "two_heads"
    needs_classes = True

    def __init__(
        self, gamma: float = 1.0, measured: Measured = "personal", **base: float | None
    ) -> None:
        super().__init__(**base)
        self.pass_on(gamma=gamma, measured=measured)
