"""What `fedkd check` holds a sampler to: one promise a function, in plain words."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from ..clients.samplers.base import Pool
from ..plugins.table import Seam
from ..rng import torch_generator
from .common import IN_RUNS, MADE
from .plugged import ACTIVE, CLASSES, Plugged, plugged
from .promises import Broken, Promise, aside, untouched

__all__ = ["SUITE", "subject"]

DIM = 16

SIZE, SECONDS = 5000, 30.0
"""Samples of the pool that is timed, and what one pick from it may take."""


def subject(seam: Seam, target: str, overrides: Sequence[str] = (), **options: Any) -> Plugged:
    """Return a sampler that is to be checked, in runs of active learning."""
    return plugged(seam, target, overrides, ACTIVE, **options)


def pool(unlabelled: int = 60, labels: tuple[int, ...] = (0, 1, 1, 4), seed: int = 0) -> Pool:
    """Return a pool whose three models are fixed random projections."""
    generator = torch_generator(seed)
    x = torch.randn(unlabelled, DIM, generator=generator)
    labelled = torch.randn(len(labels), DIM, generator=generator)
    heads = {
        name: torch.randn(DIM, CLASSES, generator=generator)
        for name in ("local", "global", "alone")
    }
    y = torch.tensor(labels, dtype=torch.int64)
    return Pool(
        x=x,
        labelled_x=labelled,
        labelled_y=y,
        counts=torch.bincount(y, minlength=CLASSES),
        predict=lambda which, some: some @ heads[which],
        embed=lambda which, some: some.tanh(),
        generator=torch_generator(seed + 1),
    )


def picks(subject: Plugged) -> str:
    """Ask for none, one, some, all and more than there are."""
    for budget in (0, 1, 7, 60, 100):
        found, wanted = subject.make().pick(pool(), budget), min(budget, 60)
        if found.dtype != torch.int64 or found.shape != (wanted,):
            raise Broken(f"asked for {budget} of 60, returned {list(found.shape)} {found.dtype}")
        if len(found.unique()) < wanted or bool(((found < 0) | (found >= 60)).any()):
            raise Broken(f"asked for {budget} of 60, returned {found.tolist()[:10]}")
    return "0, 1, 7, 60 and 100 of 60 samples"


def edges(subject: Plugged) -> str:
    """Ask clients with hardly any labels, and one with nothing left to label."""
    for labels in ((), (3,), (3, 3, 3)):
        found = subject.make().pick(pool(labels=labels), 5)
        if len(found) != 5:
            raise Broken(f"picked {len(found)} of 5 with the labels {list(labels)}")
    if len(subject.make().pick(pool(unlabelled=0), 5)):
        raise Broken("picked from an empty pool")
    return "no labels, one label, one class, an empty pool"


def deterministic(subject: Plugged) -> str:
    """Pick twice, with other global random numbers."""
    found = []
    for seed in (1, 2):
        with aside("pick()", seed):
            found.append(subject.make().pick(pool(), 9))
    if not torch.equal(*found):
        raise Broken(f"the same pool, two answers: {found[0].tolist()} and {found[1].tolist()}")
    return "the same picks twice"


def pure(subject: Plugged) -> str:
    """Pick twice with one object, and look at the pool afterwards."""
    sampler, asked = subject.make(), pool()
    names = ("x", "labelled_x", "labelled_y", "counts")
    with untouched("pick()", **{name: getattr(asked, name) for name in names}):
        first = sampler.pick(asked, 9)
    sampler.pick(pool(seed=5), 9)  # another client
    if not torch.equal(first, sampler.pick(pool(), 9)):
        raise Broken("pick() remembers something of one client for the next")
    return "neither the pool nor the sampler changes"


def costs(subject: Plugged) -> str:
    """Pick from a large pool."""
    labels = tuple(place % CLASSES for place in range(SIZE // 10))
    asked, budget = pool(SIZE, labels), max(1, SIZE // 20)
    began = time.process_time()
    subject.make().pick(asked, budget)
    seconds = time.process_time() - began
    what = f"{budget} of {SIZE} samples in {seconds:.2f} s"
    if seconds > SECONDS:
        raise Broken(f"{what}, above {SECONDS:g} s")
    return what


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("picks", "picks distinct samples, as many as asked", picks),
    Promise("edges", "can do with clients that know next to nothing", edges),
    Promise("deterministic", "uses no random numbers but the pool's", deterministic),
    Promise("pure", "picks without side effects", pure),
    *IN_RUNS,
    Promise("costs", "is quick enough", costs),
)
"""The promises of a sampler."""
