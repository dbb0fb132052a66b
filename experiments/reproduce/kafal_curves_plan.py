"""Which runs KAFAL's curves consist of.

Two local updates times the samplers, on every data set; and, with random sampling, so that all
updates have the same labels, what happens to balanced softmax when one thing at a time is changed.
"""

from collections.abc import Sequence
from itertools import product

from .cells import Row

SEEDS = 5
CYCLES, ROUNDS = 5, 10
"""Cycles of MNIST and Fashion-MNIST, and the rounds of each."""

SMALL = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
LARGE = "cifar10"
DATA = {**SMALL, LARGE: "CIFAR-10"}
"""Data sets, and what the page calls them."""

MNIST = "experiment=kafal_mnist engine=inline"
CIFAR = (
    "experiment=kafal_cifar10 engine=inline model=lenet5 data.samples_per_client=1000 fraction=1 "
    "fit.epochs=5 fit.batch_size=32 fit.lr=0.05 strategy.milestone=null "
    "strategy.rounds_per_cycle=5 evaluate.every=5 evaluate.samples=2000 rounds=20"
)
SETTINGS = {"mnist": MNIST, "fashion_mnist": MNIST, LARGE: CIFAR}
"""What a data set is run with."""

KCFU, PLAIN, BALANCED = "kcfu", "plain", "balanced"
UPDATES = {
    KCFU: "",
    PLAIN: "strategy.balanced=false strategy.kd_weight=0",
    BALANCED: "strategy.kd_weight=0",
    "compensation": "strategy.balanced=false",
}
"""What the page calls a local update, and its overrides."""

RANDOM, KSAS = "random", "ksas"
SAMPLERS = (RANDOM, "entropy", "margin", KSAS, "discrepancy")
"""The last is KSAS without its prior."""

CURVES = [
    *((KCFU, sampler) for sampler in SAMPLERS),
    *((PLAIN, sampler) for sampler in (RANDOM, "margin", KSAS)),
]
"""Local update and sampler of each curve."""

AS_IS = "-"
CLASSES = (
    "data.partitioner=pathological data.partitioner.class_assignment_mode=deterministic "
    "data.partitioner.num_classes_per_partition="
)
CHANGES = {
    "one class each": CLASSES + "1",
    "two classes each": CLASSES + "2",
    "Dirichlet(1)": "data.alpha=1",
    "1 local epoch": "fit.epochs=1",
    "20 local epochs": "fit.epochs=20",
    "100 labels a cycle": "strategy.initial=0.1666 strategy.budget=0.1666",
}
"""What is changed for balanced softmax, and its overrides."""

CAUSED = (KCFU, BALANCED, PLAIN)
"""Updates that are compared when something is changed."""

EARLY = 2
"""Cycles of a run with something changed."""


def cell(data: str, update: str, sampler: str, seed: int, change: str = AS_IS) -> Row:
    """Return what identifies a run."""
    return {"data": data, "update": update, "sampler": sampler, "change": change, "seed": seed}


def curves(data: str, seeds: Sequence[int]) -> list[Row]:
    """Return the curves of a data set, seed by seed, so that rows are balanced always.

    Examples
    --------
    >>> len(curves("mnist", [0]))
    8
    """
    return [cell(data, *curve, seed) for seed, curve in product(seeds, CURVES)]


def causes(seeds: Sequence[int]) -> list[Row]:
    """Return the halves of KCFU, and what is changed, one thing at a time.

    Examples
    --------
    >>> len(causes([0]))
    20
    """
    found = []
    for seed in seeds:
        found += [
            cell("mnist", name, RANDOM, seed) for name in UPDATES if name not in (KCFU, PLAIN)
        ]
        every = product(CHANGES, CAUSED)
        found += [cell("mnist", update, RANDOM, seed, change) for change, update in every]
    return found


def wanted(data: Sequence[str] = tuple(SMALL), seeds: int = SEEDS) -> list[Row]:
    """Return all runs of some data sets: their curves, then the causes.

    Examples
    --------
    >>> len(wanted()), len(wanted(["cifar10"]))
    (180, 40)
    """
    found = [one for name in data for one in curves(name, range(seeds))]
    return found + (causes(range(seeds)) if "mnist" in data else [])


def overrides(one: Row) -> list[str]:
    """Return what a cell is run with.

    Examples
    --------
    >>> overrides(cell("mnist", "balanced", "ksas", 2))[-4:]
    ['data=mnist', 'strategy.kd_weight=0', 'sampler=ksas', 'seed=2']
    """
    change = one["change"]
    changed = [] if change == AS_IS else [f"rounds={EARLY * ROUNDS}", *CHANGES[change].split()]
    return [
        *SETTINGS[one["data"]].split(),
        f"data={one['data']}",
        *UPDATES[one["update"]].split(),
        f"sampler={one['sampler']}",
        f"seed={one['seed']}",
        *changed,
    ]
