"""What `fedkd check` holds a sampler to: one promise a function, in plain words."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..clients.samplers.base import Pool, Sampler
from ..rng import scoped, torch_generator
from ..run.result import RunResult
from .promises import Broken, Promise, Skipped

CLASSES, DIM = 10, 16


@dataclass
class SamplerSubject:
    """A sampler to check.

    Parameters
    ----------
    name : str
        As it was given.
    make : callable
        Returns a new object with the parameters given.
    run, resume : callable
        ``run(**settings)`` makes a tiny run of active learning; ``resume(run_dir, **settings)``
        goes on with one.
    engines : bool
        Whether to run on Ray too.
    size : int
        Samples of the pool that is timed.
    seconds : float
        What one pick from it may take.
    """

    name: str
    make: Callable[[], Sampler]
    run: Callable[..., RunResult]
    resume: Callable[..., RunResult]
    engines: bool = False
    size: int = 5000
    seconds: float = 30.0


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


def constructs(subject: SamplerSubject) -> str:
    """Make one."""
    return type(subject.make()).__name__


def picks(subject: SamplerSubject) -> str:
    """Ask for none, one, some, all and more than there are."""
    for budget in (0, 1, 7, 60, 100):
        found, wanted = subject.make().pick(pool(), budget), min(budget, 60)
        if found.dtype != torch.int64 or found.shape != (wanted,):
            raise Broken(f"asked for {budget} of 60, returned {list(found.shape)} {found.dtype}")
        if len(found.unique()) < wanted or bool(((found < 0) | (found >= 60)).any()):
            raise Broken(f"asked for {budget} of 60, returned {found.tolist()[:10]}")
    return "0, 1, 7, 60 and 100 of 60 samples"


def edges(subject: SamplerSubject) -> str:
    """Ask clients with hardly any labels, and one with nothing left to label."""
    for labels in ((), (3,), (3, 3, 3)):
        found = subject.make().pick(pool(labels=labels), 5)
        if len(found) != 5:
            raise Broken(f"picked {len(found)} of 5 with the labels {list(labels)}")
    if len(subject.make().pick(pool(unlabelled=0), 5)):
        raise Broken("picked from an empty pool")
    return "no labels, one label, one class, an empty pool"


def deterministic(subject: SamplerSubject) -> str:
    """Pick twice, with other global random numbers."""
    found = []
    for seed in (1, 2):
        with scoped(seed):
            before = torch.get_rng_state()
            found.append(subject.make().pick(pool(), 9))
            if not torch.equal(before, torch.get_rng_state()):
                raise Broken("pick() draws from torch's global random generator")
    if not torch.equal(*found):
        raise Broken(f"the same pool, two answers: {found[0].tolist()} and {found[1].tolist()}")
    return "the same picks twice"


def pure(subject: SamplerSubject) -> str:
    """Pick twice with one object, and look at the pool afterwards."""
    sampler, asked = subject.make(), pool()
    before = [value.clone() for value in _tensors(asked)]
    first = sampler.pick(asked, 9)
    if not all(torch.equal(a, b) for a, b in zip(before, _tensors(asked), strict=True)):
        raise Broken("pick() changes the pool")
    sampler.pick(pool(seed=5), 9)  # another client
    if not torch.equal(first, sampler.pick(pool(), 9)):
        raise Broken("pick() remembers something of one client for the next")
    return "neither the pool nor the sampler changes"


def resumes(subject: SamplerSubject) -> str:
    """Interrupt a run between two cycles."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as scratch:
        whole = subject.run(rounds=4)
        subject.run(rounds=2, run_dir=str(Path(scratch) / "run"), **{"checkpoint.every": 1})
        again = subject.resume(Path(scratch) / "run", rounds=4)
    one, two = (_picks(result) for result in (whole, again))
    if one != two or whole.summary["digest"] != again.summary["digest"]:
        raise Broken(f"2 rounds and 2 more picked {two}, 4 rounds {one}")
    return "2 rounds and 2 more pick what 4 do"


def engines(subject: SamplerSubject) -> str:
    """Run on Ray too."""
    if not subject.engines:
        raise Skipped("add --engines to run on Ray too")
    one = subject.run(rounds=4)
    two = subject.run(rounds=4, engine={"name": "ray", "actors": 2})
    if _picks(one) != _picks(two):
        raise Broken(f"inline picked {_picks(one)}, ray {_picks(two)}")
    return "inline and ray pick the same"


def costs(subject: SamplerSubject) -> str:
    """Pick from a large pool."""
    labels = tuple(place % CLASSES for place in range(subject.size // 10))
    asked, budget = pool(subject.size, labels), max(1, subject.size // 20)
    began = time.process_time()
    subject.make().pick(asked, budget)
    seconds = time.process_time() - began
    what = f"{budget} of {subject.size} samples in {seconds:.2f} s"
    if seconds > subject.seconds:
        raise Broken(f"{what}, above {subject.seconds:g} s")
    return what


def _tensors(asked: Pool) -> list[Tensor]:
    return [asked.x, asked.labelled_x, asked.labelled_y, asked.counts]


def _picks(result: RunResult) -> list[Any]:
    return result.rounds["picks"].to_pylist()


SUITE: tuple[Promise, ...] = (
    Promise("constructs", "can be made with its defaults", constructs, vital=True),
    Promise("picks", "picks distinct samples, as many as asked", picks),
    Promise("edges", "can do with clients that know next to nothing", edges),
    Promise("deterministic", "uses no random numbers but the pool's", deterministic),
    Promise("pure", "picks without side effects", pure),
    Promise("resumes", "can be interrupted and resumed", resumes),
    Promise("engines", "does not depend on the engine", engines),
    Promise("costs", "is quick enough", costs),
)
"""The promises of a sampler."""
