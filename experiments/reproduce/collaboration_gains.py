"""Two claims of gain: of FedMD over no collaboration, and of FedDF over FedAvg.

``python -m fedkd.experiments.reproduce.collaboration_gains`` runs FedAvg and FedDF under the same
conditions (``experiment=fusion_mnist``): a small version, of which an order can be asked and no
published number. Every finished run is a row of ``--rows FILE``; called again, it runs only what is
missing. ``--quick`` is one seed at alpha 0.1. What FedMD gains is in the rows of `knfu_phase`.
"""

from pathlib import Path

import typer

from ...config import RunConfig
from ...config.overrides import compose
from .cells import Row, scored
from .claims import Claim
from .tables import asked

ROWS = Path("docs/rows/collaboration_gains.csv")
ALPHAS, SEEDS = (0.1, 1.0), 3
METHODS = ("fedavg", "feddf")

CLAIM = Claim(
    name="collaboration_gains",
    title="Gains by collaboration: FedMD, FedDF",
    claimed="With FedMD, clients are better than without collaboration; with FedDF, the server's "
    "model is better than FedAvg's after as many rounds.",
    source="Li and Wang, FedMD, arXiv 1910.03581; Lin et al., FedDF, arXiv 2006.07242",
    confidence="certain for both claims. The published data and networks are larger (CIFAR, ResNet "
    "and others), so only the order is compared",
    published={},
    differences=(
        "MNIST, 10 clients with Dirichlet mixes of their own, MLP 784-200-10, 10 rounds of 2 local "
        "epochs, 500 unlabelled transfer samples; FedDF with its default steps.",
        "FedMD has no training on labelled public data beforehand, and one architecture.",
        "FedMD is compared on all classes, as there, and on the clients' own mixes, which is not.",
        "Last round, where FedDF's tables have the best.",
    ),
)


def cells(alphas: tuple[float, ...] = ALPHAS, seeds: int = SEEDS) -> list[Row]:
    """Return what identifies each run.

    Examples
    --------
    >>> len(cells())
    12
    """
    return [
        {"alpha": alpha, "method": method, "seed": seed}
        for seed in range(seeds)
        for alpha in alphas
        for method in METHODS
    ]


def config(cell: Row) -> RunConfig:
    """Return what a cell is run with."""
    return compose(_overrides(cell))


def _overrides(cell: Row) -> list[str]:
    about = [f"strategy={cell['method']}", f"data.alpha={cell['alpha']:g}", f"seed={cell['seed']}"]
    return ["experiment=fusion_mnist", *about, "device=cpu"]


def measured(cell: Row) -> Row | None:
    """Run one; say so if it fails, and leave it."""
    return scored(_overrides(cell))


def wanted(seeds: int, quick: bool) -> list[Row]:
    """Return the cells that are asked for."""
    return cells(ALPHAS[:1], 1) if quick else cells(seeds=seeds)


command = asked(ROWS, wanted, measured, config)

if __name__ == "__main__":
    typer.run(command)
