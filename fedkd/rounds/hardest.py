"""Which view of each transfer sample a round uses: that on which clients disagree the most.

Nix, Burg, Sinz, "HARD: Hard Augmentations for Robust Distillation", 2023, arXiv 2305.14890, learn
from augmented samples on which a student is farthest from its teacher. Confidence: the idea is
certain (abstract), its formulas are not confirmed, and it needs gradients through the teacher,
which a federation does not have. **Ours** is a stand-in: clients, which are one another's teachers,
vote by what they upload anyway::

    d(u, v) = mean_n KL( p_n || pbar )     of view v of sample u, pbar = mean_n p_n
    r(u, v) = share of the round's samples with a smaller d, and half of those with the same
    round 1:    the originals, v = 0
    round t:    for a share ``transfer.explore`` of the samples a view drawn from the others,
                for all others the view that is kept
    after it:   a view that was kept has its new r; one that was tried is kept if its r is larger

With two clients d is their Jensen-Shannon divergence; of predictions of numbers it is the variance
between clients, mean over targets. Clients agree more and more as they learn from one another, and
cohorts differ, so numbers of two rounds cannot be compared, and ranks in them can. Clients label
as many samples as without; what it costs is that their numbers travel. Only admitted knowledge
votes, and only on what two clients or more have sent; who was away uses what the others
have chosen. A sample is first used as it is.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import RunConfig
from ..data.federation import Federation
from ..errors import ConfigError
from ..knowledge import KnowledgeStack
from ..rng import SERVER, stream
from ..tasks.rows import by_sample, samples_at

UNKNOWN = -1.0
"""In place of the disagreement on a sample that has not been used."""


class Hardest:
    """The views that are kept, and the rank of each among its round's when it was last used.

    Parameters
    ----------
    size, views : int
        Transfer samples, and views of each beside the original.
    explore : float
        Share of the samples that try another view, in (0, 1].
    seed : int
        The run's.
    each : int
        Rows of knowledge that a sample has.

    Attributes
    ----------
    kept : Tensor
        int64 ``[size]``, in 0..views; 0 is the original.
    ranks : Tensor
        float64 ``[size]``, r in (0, 1), or `UNKNOWN`.

    Examples
    --------
    >>> hardest = Hardest(size=2, views=3, explore=1.0, seed=0)
    >>> hardest.samples(1, torch.arange(2))  # nothing is known yet
    tensor([0, 1])
    >>> labels = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
    >>> voted = hardest.vote(KnowledgeStack("soft_labels", labels, [0, 1], torch.tensor([2, 3])))
    >>> hardest.kept.tolist(), hardest.ranks.tolist()
    ([1, 1], [0.75, 0.25])
    """

    def __init__(self, size: int, views: int, explore: float, seed: int, each: int = 1) -> None:
        self.views, self.explore, self.seed, self.each = views, explore, seed, each
        self.kept = torch.zeros(size, dtype=torch.int64)
        self.ranks = torch.full((size,), UNKNOWN, dtype=torch.float64)

    def samples(self, number: int, drawn: Tensor) -> Tensor:
        """Return which samples stand for those drawn in a round, ascending; see `fedkd.data.views`.

        Parameters
        ----------
        number : int
            The round.
        drawn : Tensor
            int64, of 0..size-1.
        """
        size = len(self.kept)
        rng = np.random.default_rng(stream(self.seed, SERVER, number, "hardest"))
        tried = torch.from_numpy(rng.random(size) < self.explore) & (self.ranks != UNKNOWN)
        other = self.kept + torch.from_numpy(rng.integers(1, self.views + 1, size))
        version = torch.where(tried, other % (self.views + 1), self.kept)
        found: Tensor = (version * size + torch.arange(size))[drawn].sort().values
        return found

    def vote(self, knowledge: KnowledgeStack | None) -> dict[str, float]:
        """Keep what clients disagree on more; return columns of the rounds table.

        Parameters
        ----------
        knowledge : KnowledgeStack or None
            What was admitted in the round; None if it was skipped, and nothing changes.
        """
        columns: dict[str, float] = {}
        if knowledge is not None:
            apart = knowledge.disagreement()
            if self.each > 1:
                apart = by_sample(apart, self.each).mean(dim=1)
            heard = ~apart.isnan()
            samples = samples_at(knowledge.sample_ids, self.each)
            self._keep(samples[heard], ranked(apart[heard]))
            if heard.any():
                columns["disagreement"] = apart[heard].mean().item()
        return {**columns, "views_kept": (self.kept > 0).double().mean().item()}

    def _keep(self, samples: Tensor, ranks: Tensor) -> None:
        size = len(self.kept)
        which, version = samples % size, samples // size
        wins = (version == self.kept[which]) | (ranks > self.ranks[which])
        self.kept[which[wins]], self.ranks[which[wins]] = version[wins], ranks[wins]

    def save(self) -> dict[str, Any]:
        """Return what `load` takes, JSON-ready."""
        return {"hardest": {"kept": self.kept.tolist(), "ranks": self.ranks.tolist()}}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned, of the same run.

        Raises
        ------
        ConfigError
            If it is about other samples or views.
        """
        if (found := saved.get("hardest")) is None:
            problem = "the checkpoint has no views: the run was made without; set it to false"
            raise ConfigError("transfer.hard", True, problem)
        if (size := len(found["kept"])) != len(self.kept):
            problem = f"the checkpoint has views of {size} samples; give as many"
            raise ConfigError("transfer.size", len(self.kept), problem)
        if (most := max(found["kept"])) > self.views:
            problem = f"the checkpoint keeps view {most} of a sample; give at least {most}"
            raise ConfigError("transfer.views", self.views, problem)
        self.kept = torch.tensor(found["kept"], dtype=torch.int64)
        self.ranks = torch.tensor(found["ranks"], dtype=torch.float64)


def ranked(values: Tensor) -> Tensor:
    """Return the share of values below each, and half of those equal, itself among them.

    Examples
    --------
    >>> ranked(torch.tensor([0.3, 9.0, 0.1, 0.3]))
    tensor([0.5000, 0.8750, 0.1250, 0.5000], dtype=torch.float64)
    """
    ordered = values.sort().values
    below, upto = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (below + upto).double() / (2 * max(1, len(values)))


def hardest_of(config: RunConfig, federation: Federation, each: int) -> Hardest | None:
    """Return what chooses among views of the transfer samples, if there are any."""
    if federation.views is None:
        return None
    explore, size = config.transfer.explore, federation.transfer_size
    return Hardest(size, federation.views.count, explore, config.seed, each)
