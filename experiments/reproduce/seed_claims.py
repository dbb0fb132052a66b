"""Four claims of the seed papers: mixup, the direction of KL, noise, dynamic logits.

``python -m fedkd.experiments.reproduce.seed_claims`` changes one thing at a time about FedMD over
logits (``experiment=fusion_mnist``). What it is compared with, FedMD as it is and clients that stay
alone, is in the rows of `knfu_phase`. Every finished run is a row of ``--rows FILE``; called again,
it runs only what is missing, claim by claim. ``--quick`` is one seed of one way for each claim.
"""

from dataclasses import dataclass
from pathlib import Path

import typer

from ...config import RunConfig
from ...config.overrides import compose
from .cells import Row, scored
from .claims import Claim
from .paired import PLACES
from .tables import asked

ROWS = Path("docs/rows/seed_claims.csv")
ALPHAS, SEEDS = (0.1, 1.0), 5

BASE, ALONE = "fedmd", "local"
"""What is in the rows of `knfu_phase`, by its names there."""

CLUSTERS, ONE = "noise, clusters", "noise, one cluster"

CLAIMED = {
    "dynamic logits": {"dynamic logits": "strategy=dynamic_logits"},
    "noise": {
        CLUSTERS: "transfer.data=noise transfer.noise=clusters",
        ONE: "transfer.data=noise transfer.noise=gaussian",
    },
    "direction": {
        "reverse KL": "objective=reverse_kl",
        "skewed KL": "objective=skewed_kl",
        "JS": "objective=js",
        "BD-KD": "objective=bd_kd",
    },
    "mixup": {
        "mixup, 10 %": "transfer.mixup=0.1",
        "mixup, 41 %": "transfer.mixup=0.41",
        "mixup, all": "transfer.mixup=1",
        "mixup, 41 %, LSKD": "transfer.mixup=0.41 objective=lskd",
    },
}
"""What the page calls a change, and its overrides, claim by claim; the fewest runs first."""

WAYS = {name: change for ways in CLAIMED.values() for name, change in ways.items()}


@dataclass(frozen=True)
class Part:
    """What is claimed to be better than what.

    Parameters
    ----------
    what : str
        In words.
    one, other : str
        Two of `WAYS`, `BASE` and `ALONE`.
    places : tuple of str
        Where.
    margin : float
        Points by which `one` may be worse, where it is claimed to be as good.
    """

    what: str
    one: str
    other: str = BASE
    places: tuple[str, ...] = tuple(PLACES)
    margin: float = 0.0


GLOBAL = ("global",)
"""Where noise is judged: who learns nothing from it stays alone, which is best on one's own mix."""

PARTS = (
    Part("Mixup of a tenth of the transfer set helps, as is said", "mixup, 10 %"),
    Part("Mixup of 41 % of it helps, which is what the public code does", "mixup, 41 %"),
    Part("Mixing a part (41 %) is better than mixing all", "mixup, 41 %", "mixup, all"),
    Part(
        "With a part mixed, logits over their deviation (LSKD) are better",
        "mixup, 41 %, LSKD",
        "mixup, 41 %",
    ),
    Part("Reverse KL is better than forward KL", "reverse KL"),
    Part("Skewed KL is better than forward KL", "skewed KL"),
    Part("JS is better than forward KL", "JS"),
    Part("Both directions balanced (BD-KD) are better than forward KL", "BD-KD"),
    Part("Clients are better over noise, a cluster a class, than alone", CLUSTERS, ALONE, GLOBAL),
    Part("Such noise is as good as pictures, but for a point", CLUSTERS, BASE, GLOBAL, 1.0),
    Part("Noise that can be told apart is better than one cluster", CLUSTERS, ONE, GLOBAL),
    Part("Dynamic logits are better than their mean", "dynamic logits"),
)

CLAIM = Claim(
    name="seed_claims",
    title="Claims of the seed papers: mixup, direction of KL, noise, dynamic logits",
    claimed="Mixing a part of the distilled samples helps, mixing all does not, and logits are "
    "best scaled by their deviation; a reverse, skewed or balanced KL divergence teaches better "
    "than the forward one; noise in separable classes transfers as well as real samples; adding "
    "what experts have learnt to one's own logits, scaled sample by sample, is better than a fixed "
    "mixture.",
    source="Choi et al., WACV 2023, arXiv 2211.03946 (mixup); Amara et al., arXiv 2212.12965, and "
    "Ko et al., DistiLLM, arXiv 2402.03898 (direction); Yao et al., arXiv 2502.13573 (noise); Fan "
    "et al., NeurIPS 2024, arXiv 2406.15480 (dynamic logits)",
    confidence="certain for the formulas of mixup, skewed KL and dynamic logits and for the "
    "finding on noise; secondary for BD-KD; inferred for what mixup was found to do. None is about "
    "federated learning, so only the order is compared",
    published={},
    differences=(
        "All are put to FedMD over logits: MNIST, 10 clients with 200 samples each and Dirichlet "
        "mixes of their own, MLP 784-200-10, 10 rounds of 2 local epochs and 1 epoch of "
        "distillation on 500 unlabelled transfer samples. Nothing is tuned: all have their "
        "defaults and one learning rate, and losses differ in size.",
        "Mixup: exactly the share is mixed, once, before anybody labels it. The public code says "
        "10 % and mixes 41 %, as what stays plain is drawn with replacement, and every batch anew. "
        "LSKD takes off the logits' mean before it divides by their deviation, which no softmax "
        "sees.",
        "Direction: there is no cross-entropy beside it; clients fit their own samples in a phase "
        "of its own. The language models of DistiLLM learn from what they generate.",
        "Noise: of pixels, and what is transferred are predictions on it; there it is of features, "
        "and a source domain's. No cluster knows what its class looks like.",
        "Dynamic logits: experts are the other clients, and one scale is for all of a sample's "
        "(`strategies/dynamic_logits.py`); there, small language models teach a large one. What "
        "is fixed here is the mean of all logits.",
    ),
)


def cells(seeds: int = SEEDS) -> list[Row]:
    """Return what identifies each run, claim by claim, seeds outermost in each.

    Examples
    --------
    >>> len(cells()), cells()[0]
    (110, {'way': 'dynamic logits', 'alpha': 0.1, 'seed': 0})
    """
    return [
        {"way": way, "alpha": alpha, "seed": seed}
        for ways in CLAIMED.values()
        for seed in range(seeds)
        for alpha in ALPHAS
        for way in ways
    ]


def wanted(seeds: int, quick: bool) -> list[Row]:
    """Return the cells that are asked for."""
    return few() if quick else cells(seeds)


def few() -> list[Row]:
    """Return one seed of the first way of each claim, under the stronger skew."""
    first = [next(iter(ways)) for ways in CLAIMED.values()]
    return [cell for cell in cells(1) if cell["way"] in first and cell["alpha"] == ALPHAS[0]]


def overrides(cell: Row) -> list[str]:
    """Return what a cell is run with.

    Examples
    --------
    >>> overrides({"way": "reverse KL", "alpha": 1.0, "seed": 2})[1:4]
    ['strategy=fedmd', 'data.alpha=1', 'seed=2']
    """
    changes = WAYS.get(cell["way"], "").split()
    strategy = [] if any(one.startswith("strategy=") for one in changes) else [f"strategy={BASE}"]
    about = [f"data.alpha={cell['alpha']:g}", f"seed={cell['seed']}", "device=cpu"]
    return ["experiment=fusion_mnist", *strategy, *about, *changes]


def config(cell: Row) -> RunConfig:
    """Return what a cell is run with."""
    return compose(overrides(cell))


def measured(cell: Row) -> Row | None:
    """Run one; say so if it fails, and leave it."""
    return scored(overrides(cell))


command = asked(ROWS, wanted, measured, config, SEEDS)

if __name__ == "__main__":
    typer.run(command)
