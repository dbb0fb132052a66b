"""FedBABU: the body is trained below a head that stays random, and tuned for each client at last.

Oh, Kim, Yun, "FedBABU: Toward Enhanced Representation for Federated Image Classification", ICLR
2022, arXiv 2106.06042. Confidence: certain (official code)::

    client   trains the body; the head keeps the random values that all start from
    upload   the body: all below the last linear layer, statistics of BatchNorm included
    server   body = mean_n body_n
    measured a copy of the model after 5 epochs on the client's own data

The official mean is unweighted, its optimiser has a learning rate of 0 for the head, and it reports
the best of all rounds on test data; here every round is reported as it is. What is fine-tuned is
the whole model, as there, or a part of it. ``tune=0`` measures what is shared, with the random
head.
"""

from ..clients.exchange.body import Tuned
from ..clients.exchange.shared_part import Weighting
from .bodies import TunedBodies


class FedBABU(TunedBodies):
    """Averaged bodies below one head that is never trained, but for a measurement.

    Parameters
    ----------
    tune : int
        Epochs of fine-tuning before a client is measured; see `TunedBodies`.
    tuned : {"model", "head", "body"}
        What is fine-tuned.
    weighting : {"uniform", "samples"}
        Whether clients count evenly, or by their samples.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> FedBABU(tuned="head").exchange_node()
    {'name': 'frozen_head', 'weighting': 'uniform', 'tune': 5, 'tuned': 'head'}
    """

    exchange = "frozen_head"

    def __init__(
        self,
        tune: int = 5,
        tuned: Tuned = "model",
        weighting: Weighting = "uniform",
        **base: float | None,
    ) -> None:
        super().__init__(tune, weighting=weighting, **base)
        self.pass_on(tuned=tuned)

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of what to tune, where nothing is."""
        idle = super().unused(kind)
        if not self.passed_on["tune"]:
            idle["tuned"] = "has no effect: strategy.tune=0 tunes nothing; leave it out"
        return idle
