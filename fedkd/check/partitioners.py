"""What `fedkd check` holds a partitioner to."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..config.overrides import compose, merge
from ..data.partition import count, partition
from ..data.partitioners import made_of
from ..errors import ConfigError
from ..plugins.table import Seam
from ..rng import scoped
from .common import IN_RUNS, MADE
from .plugged import CLASSES, Plugged, brief, tiny
from .promises import Promise, expect

__all__ = ["SUITE", "subject"]

POOL = 600
"""Samples that it deals."""


class Dealer(Plugged):
    """A partitioner to check."""

    def make(self, **more: Any) -> Any:
        """Return a new one, with more parameters than the user gave."""
        config = merge(self.config, **{"data.partitioner": self.node | more})
        return made_of(config, None)

    def deal(self, seed: int = 0) -> list[NDArray[np.int64]]:
        """Return what each client gets of some samples."""
        return partition(merge(self.config, seed=seed), pool(), None)


def pool() -> pa.Table:
    """Return the samples that it deals."""
    rows = np.arange(POOL)
    return pa.table({"index": rows, "label": rows * 7 % CLASSES})


def subject(seam: Seam, target: str, overrides: Sequence[str] = (), **options: Any) -> Dealer:
    """Return a partitioner that is to be checked."""
    cls = seam.resolve(target)
    config = compose([f"{seam.key}={target}", *overrides])
    node = brief(cls) | dict(config.data.partitioner)
    settings = tiny(overrides, {"data.samples_per_client": None}) | {seam.key: node}
    if not any(text.startswith("strategy") for text in overrides):
        settings["strategy"] = {"name": "fedmd"}
    dealer = Dealer(seam, target, node, merge(config, **settings), **options)
    if "clients" in settings:
        with suppress(ConfigError):  # which making one will say again
            dealer.config = merge(dealer.config, clients=count(dealer.make(), pool()))
    return dealer


def deals(subject: Dealer) -> str:
    """Deal some samples, of which every client gets some."""
    parts = subject.deal()
    rows = np.concatenate(parts)
    twice = len(rows) - len(np.unique(rows))
    expect(not twice, f"{twice} samples go to more than one client")
    sizes = [len(part) for part in parts]
    return f"{len(rows)} of {POOL} to {len(parts)} clients, {min(sizes)} to {max(sizes)} each"


def repeated(subject: Dealer) -> str:
    """Deal twice, with other global random numbers."""
    dealt = []
    for place in (0, 1):
        with scoped(place):
            dealt.append(subject.deal())
    same = all(np.array_equal(*pair) for pair in zip(*dealt, strict=True))
    expect(same, "the same seed deals in two ways")
    other = all(np.array_equal(*pair) for pair in zip(dealt[0], subject.deal(1), strict=True))
    return "the same for every seed" if other else "by the seed"


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("deals", "gives no sample to two clients, and some to each", deals),
    Promise("repeated", "deals alike whenever the seed is the same", repeated),
    *IN_RUNS,
)
"""The promises of a partitioner."""
