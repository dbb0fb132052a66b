"""Whether the mean of soft labels withstands hostile clients, as Roux et al. say.

``python -m fedkd.experiments.reproduce.byzantine`` runs the mean of soft labels, robust rules over
them and averaged parameters (FedAvg), each with a share of hostile clients that lie in three ways
(``experiment=fusion_mnist``, alpha 1). A row has each client's accuracy and who was hostile. Called
again, it runs only what is missing; ``--quick`` is one seed of the mean and FedAvg.
"""

from itertools import product
from pathlib import Path

import typer

from ...config import RunConfig
from ...config.overrides import compose
from .cells import Row, finals, numbers
from .claims import Claim, listed
from .tables import asked

ROWS = Path("docs/rows/byzantine.csv")
SEEDS, SHARES, ALPHA = 5, (0.1, 0.3), 1.0

MEAN, AVERAGED = "mean", "fedavg"
METHODS = {
    AVERAGED: "strategy=fedavg",
    MEAN: "strategy=fedmd strategy.exchange=soft_labels",
    "median": "strategy=coordinate_median",
    "trimmed": "strategy=trimmed_mean strategy.trim=0.3",
    "expguard": "strategy=expguard",
}
"""What the page calls a method, and its overrides."""

ROBUST = ("median", "trimmed", "expguard")

NONE, FLIPPED, CHANCE, AGAINST, TENFOLD = (
    "none",
    "flipped labels",
    "by chance",
    "against",
    "against, tenfold",
)
OWN = "fedkd.experiments.reproduce.byzantine_attacks"
LIES = {
    NONE: ("none", "none"),
    FLIPPED: ("label_flip", "label_flip"),
    CHANCE: ("random_one_hot", f"{OWN}:ByChance"),
    AGAINST: ("lma", f"{OWN}:Reversed"),
    TENFOLD: (None, f"{OWN}:Reversed attack.scale=10"),
}
"""What hostile clients do: as an attack on soft labels, and as one on parameters."""

CLAIM = Claim(
    name="byzantine",
    title="Byzantine clients and the mean of soft labels",
    claimed="Distillation over the mean of the clients' predictions withstands Byzantine clients "
    "remarkably well, as their influence is bounded by the simplex; attacks made for it (LMA) harm "
    "it more than plain ones, and robust rules (ExpGuard) win back what these cost.",
    source="Roux, Zimmer, Pokutta, ICLR 2025, arXiv 2402.12265, and its public code",
    confidence="certain for attacks and rules (the code); secondary for the bound and for how much "
    "is won back (up to 32 points). The data and networks are larger (CIFAR, CINIC, ResNet18), so "
    "only the order is compared",
    published={},
    differences=(
        "MNIST, 10 clients with 200 samples each and Dirichlet(1) mixes of their own, MLP "
        "784-200-10, 10 rounds of 2 local epochs and 1 epoch of distillation on 500 unlabelled "
        "transfer samples. Under Dirichlet(0.1) the mean of soft labels fails without attackers.",
        "Every client has a model of its own that learns from the teacher; there, a server's does.",
        "LMA takes the last teacher for the mean of the honest replies, which it sees there.",
        "Averaged parameters are FedAvg's, without a robust rule. What hostile clients do to them "
        "is ours, but for flipped labels: numbers drawn by chance, and updates turned round, as "
        "long as they are or tenfold (`experiments/reproduce/byzantine_attacks.py`).",
        "Hostile clients' data are lost to the others as well, which is part of what they cost.",
        "The trimmed mean drops three of ten at either end, as many as are ever hostile here.",
    ),
)


def cells(seeds: int = SEEDS) -> list[Row]:
    """Return what identifies each run: first those that compare the mean with parameters.

    Examples
    --------
    >>> len(cells()), cells()[0]
    (185, {'method': 'fedavg', 'lie': 'none', 'share': 0.0, 'seed': 0})
    """
    every = [
        {"method": method, "lie": lie, "share": share, "seed": seed}
        for methods in ((AVERAGED, MEAN), ROBUST)
        for seed, method in product(range(seeds), methods)
        for lie, share in [(NONE, 0.0), *product(list(LIES)[1:], SHARES)]
    ]
    return [cell for cell in every if _attack(cell) is not None]


def wanted(seeds: int, quick: bool) -> list[Row]:
    """Return the cells that are asked for."""
    return few() if quick else cells(seeds)


def few() -> list[Row]:
    """Return one seed of the mean and of parameters, with the larger share."""
    both = [cell for cell in cells(1) if cell["method"] in (AVERAGED, MEAN)]
    return [cell for cell in both if cell["share"] in (0.0, SHARES[-1])]


def _attack(cell: Row) -> str | None:
    """Return what hostile clients do to what this method exchanges; None for nothing."""
    return LIES[cell["lie"]][cell["method"] == AVERAGED]


def overrides(cell: Row) -> list[str]:
    """Return what a cell is run with.

    Examples
    --------
    >>> overrides({"method": "mean", "lie": "against", "share": 0.3, "seed": 2})[1:5]
    ['strategy=fedmd', 'strategy.exchange=soft_labels', 'attack=lma', 'attack.fraction=0.3']
    """
    attack, *more = (_attack(cell) or "").split()
    return [
        "experiment=fusion_mnist",
        *METHODS[cell["method"]].split(),
        f"attack={attack}",
        f"attack.fraction={cell['share']:g}",
        *more,
        f"data.alpha={ALPHA:g}",
        f"seed={cell['seed']}",
        "device=cpu",
    ]


def config(cell: Row) -> RunConfig:
    """Return what a cell is run with."""
    return compose(overrides(cell))


def measured(cell: Row) -> Row | None:
    """Run one; say so if it fails, and leave it."""
    if (found := finals(overrides(cell))) is None:
        return None
    summary, clients, seconds = found
    return numbers(summary, seconds) | {
        "clients_local": listed(clients["local"]),
        "clients_overall": listed(clients["global"]),
        "hostile": listed(clients["hostile"]),
    }


command = asked(ROWS, wanted, measured, config, SEEDS)

if __name__ == "__main__":
    typer.run(command)
