"""FedMD-NFDP: each client trains on a random subset of its records, without any noise.

Sun, Lyu, "Federated Model Distillation with Noise-Free Differential Privacy", IJCAI 2021, arXiv
2009.05537. Formulas and their confidence: `fedkd.privacy.nfdp`. **Trap**: its delta, about k/n, is
far above 1/n, so by usual standards this is a weak guarantee; summaries report that delta. The
subset is drawn once (our reading): all rounds follow from it, so the guarantee does not grow. With
``secure_rng`` it comes from the operating system, and the client remembers it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...privacy.accounting import Fixed, History
from ...privacy.nfdp import affordable, guaranteed
from ...privacy.noise import Source, uniform
from ...rng import torch_generator
from ..active import ActiveLearner
from ..base import Client
from ..exchange import Exchange
from .base import Facts, Mechanism

ROWS = "privacy.nfdp"
"""Tensor of a client: the rows that it drew, where they cannot be drawn again."""


class NFDP(Mechanism):
    """Trains on k records drawn at random; delta is about k/n, a weak guarantee.

    Parameters
    ----------
    k : int or None
        Records that a client trains on, at least 1 (all, if it has no more); None = as many as
        ``privacy.epsilon`` allows.
    replacement : bool
        Whether a record may be drawn more than once.
    epsilon : float or None
        The run's.
    **base
        See `Mechanism`.

    Examples
    --------
    >>> NFDP(k=50).kept(99), NFDP(epsilon=0.7).kept(99)
    (50, 50)
    """

    kinds = None
    protects = "one record of a client, replaced by another"
    brief: ClassVar[Mapping[str, Any]] = {"k": 10}

    def __init__(
        self,
        k: int | None = None,
        replacement: bool = False,
        epsilon: float | None = None,
        **base: bool,
    ) -> None:
        super().__init__(**base)
        if k is None and epsilon is None:
            raise ValueError("k must be given, or privacy.epsilon")
        if k is not None and k < 1:
            raise ValueError(f"k={k} must be at least 1")
        self.k, self.replacement, self.epsilon = k, replacement, epsilon

    def refusal(self, exchange: Exchange, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse active learning, which chooses its records itself."""
        if isinstance(exchange, ActiveLearner):
            return "draws the records to train on, and active learning chooses them"
        return super().refusal(exchange, models)

    def kept(self, samples: int) -> int:
        """Return how many records are drawn from so many."""
        if self.k is not None or self.epsilon is None:
            return min(self.k or 1, samples)
        return affordable(samples, self.epsilon, self.replacement)

    def select(self, client: Client, seed: int) -> None:
        """Keep the records that are drawn, in their order."""
        rows = client.tensors.get(ROWS) if self.secure_rng else None
        if rows is None:
            rows = self.drawn(len(client.y), None if self.secure_rng else torch_generator(seed))
        if self.secure_rng:
            client.tensors[ROWS] = rows
        client.x, client.y = client.x[rows], client.y[rows]

    def drawn(self, samples: int, source: Source) -> Tensor:
        """Return the rows that are drawn, ascending."""
        count = self.kept(samples)
        if self.replacement:
            found = (uniform((count,), source) * samples).long()
        elif source is None:
            found = uniform((samples,), source).argsort()[:count]
        else:
            found = torch.randperm(samples, generator=source)[:count]
        return found.sort().values

    def cost(self, facts: Facts, multiplier: float | None) -> History:
        """Return the guarantee of one draw, for the whole run."""
        del multiplier
        kept = self.kept(facts.samples)
        if kept < 1:
            raise ValueError(f"epsilon={self.epsilon} does not allow a single record")
        return {Fixed(*guaranteed(facts.samples, kept, self.replacement)): 1}
