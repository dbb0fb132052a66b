"""Two claims of gain: of FedMD over no collaboration, and of FedDF over FedAvg.

``python -m fedkd.experiments.reproduce.collaboration_gains`` runs FedAvg and FedDF under the same
conditions (``experiment=fusion_mnist``): a small version, of which an order can be asked and no
published number. FedDF is run with other steps, temperature and transfer set, too. Every finished
run is a row of ``--rows FILE``; called again, it runs only what is missing. ``--quick`` is one seed
at alpha 0.1, without those. What FedMD gains is in the rows of `knfu_phase`.
"""

from pathlib import Path

import typer

from ...config import RunConfig
from ...config.overrides import compose
from .cells import Row, scored
from .claims import Claim
from .tables import asked

ROWS = Path("docs/rows/collaboration_gains.csv")
ALPHAS, SEEDS = (0.1, 1.0), 5
METHODS = ("fedavg", "feddf")
USUAL = "-"
CHANGES = (
    "strategy.epochs=20 strategy.lr=0.001",
    "strategy.epochs=20",
    "strategy.epochs=20 strategy.lr=0.1",
    "strategy.temperature=3",
    "transfer.size=5000",
)
"""What FedDF is run with besides: is it a setting that decides?"""

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
        "epochs, 500 unlabelled transfer samples; FedDF with its default steps (2 epochs of SGD at "
        "rate 0.01), and with others.",
        "FedMD has no training on labelled public data beforehand, and one architecture.",
        "FedMD is compared on all classes, as there, and on the clients' own mixes, which is not.",
        "Last round, where FedDF's tables have the best.",
    ),
)


def cells(seeds: int = SEEDS) -> list[Row]:
    """Return what identifies each run, seed by seed.

    Examples
    --------
    >>> len(cells()), cells(1)[1]
    (70, {'alpha': 0.1, 'method': 'feddf', 'change': '-', 'seed': 0})
    """
    ways = [*((name, USUAL) for name in METHODS), *(("feddf", change) for change in CHANGES)]
    return [
        {"alpha": alpha, "method": method, "change": change, "seed": seed}
        for seed in range(seeds)
        for alpha in ALPHAS
        for method, change in ways
    ]


def config(cell: Row) -> RunConfig:
    """Return what a cell is run with."""
    return compose(_overrides(cell))


def _overrides(cell: Row) -> list[str]:
    about = [f"strategy={cell['method']}", f"data.alpha={cell['alpha']:g}", f"seed={cell['seed']}"]
    change = [] if cell["change"] == USUAL else cell["change"].split()
    return ["experiment=fusion_mnist", *about, *change, "device=cpu"]


def measured(cell: Row) -> Row | None:
    """Run one; say so if it fails, and leave it."""
    return scored(_overrides(cell))


def wanted(seeds: int, quick: bool) -> list[Row]:
    """Return the cells that are asked for."""
    return cells(1)[: len(METHODS)] if quick else cells(seeds)


command = asked(ROWS, wanted, measured, config, SEEDS)

if __name__ == "__main__":
    typer.run(command)
