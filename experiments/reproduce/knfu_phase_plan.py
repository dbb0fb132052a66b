"""Which runs KnFu's phase diagram consists of.

A grid of local data size and skew, for clients that stay alone, FedMD and KnFu in several forms;
and, at one of its cells, what happens when one thing at a time is changed.
"""

from collections.abc import Sequence
from itertools import product

from .cells import Row

SIZES, ALPHAS = (50, 200, 500, 2000), (0.05, 0.1, 0.3, 1.0, 10.0)
SEEDS = 5
SKEWED = ALPHAS[:3]
HERE = 200, 0.3
"""The cell of the grid at which one thing at a time is changed: samples and alpha."""

ALIKE, HELD = (200, 10.0), "data.validation=0.1"
"""Where clients are alike, and what has FedMD hold out there what `AUTO` does: the price of it."""

ALONE, AUTO = "local", "knfu, auto"
METHODS = {
    ALONE: "strategy=local",
    "fedmd": "strategy=fedmd",
    "fedmd, soft labels": "strategy=fedmd strategy.exchange=soft_labels",
    "knfu": "strategy=knfu",
    "knfu, logits": "strategy=knfu strategy.exchange=logits strategy.beta=1",
    AUTO: "strategy=knfu strategy.exchange=logits strategy.beta=auto data.validation=0.1",
}
"""What the page calls a method, and its overrides."""

PAIRS = {
    "fedmd": ("logits", "FedMD"),
    "fedmd, soft labels": ("soft labels", "FedMD"),
    "knfu": ("soft labels", "KnFu, published"),
    "knfu, logits": ("logits", "KnFu"),
}
"""What is exchanged, and by whom: like is compared with like."""

LIKES = {"soft labels": ("knfu", "fedmd, soft labels"), "logits": ("knfu, logits", "fedmd")}
"""What is exchanged: by KnFu, and by FedMD."""

SETTINGS = {"mnist": "experiment=fusion_mnist", "cifar10": "experiment=fusion_mnist model=lenet5"}
"""What a data set is run with."""

AS_IS = "-"
KNFU = ("knfu", "knfu, logits")
FUSING = tuple(name for name in METHODS if name != ALONE)
BETAS = (0, 0.1, 0.3, 1, 3, 10, 30, 50)
SCANS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "beta": (KNFU, tuple(f"strategy.beta={beta}" for beta in BETAS)),
    "distance": (
        KNFU,
        tuple(f"strategy.distance={d}" for d in ("reverse_kl", "js", "l2", "cosine")),
    ),
    "EPD estimator": (KNFU, ("strategy.epd_estimator=histogram",)),
    "who counts": (KNFU, ("strategy.include_self=false", "strategy.top_k=3")),
    "what is chosen from": (
        (AUTO,),
        ("strategy.betas=[0,0.3,1,3,10]", "strategy.exchange=soft_labels"),
    ),
    "held out": ((ALONE, "fedmd"), (HELD,)),
    "transfer samples": (FUSING, ("transfer.size=100", "transfer.size=2000")),
    "participation": (tuple(METHODS), ("fraction=0.3",)),
    "mixed models": (tuple(METHODS), ("model=[mlp,lenet5]",)),
}
"""What is changed: for which methods, and to what."""


STEPPED: tuple[int, tuple[float, ...]] = 200, ALPHAS[:4]
STEPS = tuple(f"distil.lr={rate}" for rate in (0.02, 0.01, 0.005))
"""Smaller steps on the teacher than on private data (0.05, the default of both), where that is
tried: with so many samples, and these alphas."""


def cell(data: str, samples: int, alpha: float, method: str, change: str, seed: int) -> Row:
    """Return what identifies a run."""
    where = {"data": data, "samples": samples, "alpha": alpha}
    return {**where, "method": method, "change": change, "seed": seed}


def grid(data: str, seeds: Sequence[int], sizes: Sequence[int] = SIZES) -> list[Row]:
    """Return the grid, seed by seed, so that rows are balanced always.

    Examples
    --------
    >>> len(grid("mnist", [0]))
    120
    """
    every = product(seeds, sizes, ALPHAS, METHODS)
    return [cell(data, samples, alpha, name, AS_IS, seed) for seed, samples, alpha, name in every]


def scans(data: str, seeds: Sequence[int]) -> list[Row]:
    """Return what is changed, one thing at a time; what is so already in the grid is not repeated.

    Examples
    --------
    >>> len(scans("mnist", [0]))
    55
    """
    price = [cell(data, *ALIKE, "fedmd", HELD, seed) for seed in seeds]
    return price + [
        cell(data, *HERE, method, change, seed)
        for seed in seeds
        for methods, changes in SCANS.values()
        for change in changes
        for method in methods
        if change not in own(method)
    ]


def steps(data: str, seeds: Sequence[int]) -> list[Row]:
    """Return the runs with smaller steps on the teacher.

    Examples
    --------
    >>> len(steps("mnist", [0]))
    48
    """
    samples, alphas = STEPPED
    every = product(seeds, alphas, STEPS, PAIRS)
    return [cell(data, samples, alpha, name, step, seed) for seed, alpha, step, name in every]


def own(method: str) -> list[str]:
    """Return the overrides that a method has already, KnFu's default beta among them.

    Examples
    --------
    >>> own("knfu")
    ['strategy=knfu', 'strategy.beta=10']
    """
    return METHODS[method].split() + ["strategy.beta=10"] * (method == "knfu")


def wanted(data: str, seeds: int = SEEDS) -> list[Row]:
    """Return all runs: three seeds of everything, then the others; what takes longest comes last.

    Examples
    --------
    >>> len(wanted("mnist", 5))
    1115
    """
    *small, large = SIZES
    found = []
    for some in (range(min(3, seeds)), range(3, seeds)):
        found += [*grid(data, some, small), *scans(data, some), *steps(data, some)]
        found += grid(data, some, [large])
    return found


def overrides(one: Row) -> list[str]:
    """Return what a cell is run with.

    Examples
    --------
    >>> overrides(cell("mnist", 50, 0.1, "local", "fraction=0.3", 2))[:3]
    ['experiment=fusion_mnist', 'data=mnist', 'strategy=local']
    """
    return [
        *SETTINGS[one["data"]].split(),
        f"data={one['data']}",
        *METHODS[one["method"]].split(),
        f"data.samples_per_client={one['samples']}",
        f"data.alpha={one['alpha']:g}",
        f"seed={one['seed']}",
        *(one["change"].split() if one["change"] != AS_IS else ()),
    ]
