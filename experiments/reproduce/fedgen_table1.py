"""FedGen's Table 1 on MNIST: whether a generator of features beats FedAvg and FedDistill.

``python -m fedkd.experiments.reproduce.fedgen_table1`` runs the protocol of the published code
(`fedgen_protocol`, `fedgen_parts`) with five methods. Every finished run is a row of
``--rows FILE``: its last and its best five rounds on the users' own test pictures, and the last
round on the whole test split. Called again, it runs only what is missing. ``--quick`` is 20 rounds
of one seed at alpha 0.1: a few CPU minutes. `fedgen_table1_page` makes the page.
"""

from pathlib import Path
from typing import Any

import numpy as np
import typer

from ...config import RunConfig
from ...run.python import simulate
from ...run.result import RunResult
from .cells import Row
from .claims import Claim, listed
from .fedgen_protocol import USERS, Net, accuracy, best, official, users
from .tables import BARE, asked, configured, measuring

ROWS = Path("docs/rows/fedgen_table1.csv")
ALPHAS = (0.1, 0.05, 1.0)
LOADERS = ("shuffled", "in order")
METHODS = ("fedavg", "fedgen", "feddistill", "feddistill_plus", "fedprox")
FULL, QUICK = 200, 20
"""Rounds."""

PARTS = "fedkd.experiments.reproduce.fedgen_parts"
STRATEGIES: dict[str, dict[str, Any]] = {
    "fedavg": {"name": f"{PARTS}:FedAvg"},
    "fedprox": {"name": f"{PARTS}:FedProx", "mu": 1.0},
    "feddistill": {"name": f"{PARTS}:FedDistill"},
    "feddistill_plus": {"name": f"{PARTS}:FedDistillPlus"},
    "fedgen": {"name": f"{PARTS}:FedGen", "alpha": 10.0, "beta": 10.0},
}
DECAYS = {"fedprox": 0.001}
"""Weight decay, which the published FedProx has and the others have not."""

CLAIM = Claim(
    name="fedgen_table1",
    title="FedGen, Table 1, MNIST",
    claimed="Of these methods FedGen is the most accurate, the more so the more the users' labels "
    "differ; FedDistill+ is about as good as FedAvg, and FedDistill far behind.",
    source="Zhu et al., ICML 2021, arXiv 2105.10056: the paper's full text and its public code",
    confidence="certain for the protocol",
    published={
        "fedavg": {0.05: (87.70, 2.07), 0.1: (90.16, 0.59), 1.0: (93.84, 0.25)},
        "fedprox": {0.05: (87.49, 2.05), 0.1: (90.10, 0.39), 1.0: (93.83, 0.29)},
        "feddistill": {0.05: (70.56, 1.24), 0.1: (64.11, 1.36), 1.0: (79.88, 0.66)},
        "feddistill_plus": {0.05: (86.70, 2.27), 0.1: (90.28, 0.89), 1.0: (94.73, 0.15)},
        "fedgen": {0.05: (91.30, 0.74), 0.1: (93.03, 0.32), 1.0: (95.52, 0.07)},
    },
    differences=(
        "Who holds which pictures is drawn by another generator with the same seed (42): the split "
        "has the published rule, not the published draw. It is one for all seeds, as there.",
        "Users of a round are drawn from the run's seed; the published code does not seed that.",
        "A user with fewer than 32 pictures trains on all of them in each step; the code fails.",
        "FedDistill and FedDistill+ count labels from 0 and take class means anew each round; the "
        "code counts from 1 and never starts anew. FedGen's generator weighs each label's loss by "
        "its users' counts; the code multiplies two means.",
        "FedProx has the code's weight decay of 0.001, which the other methods have not.",
        "Measured after each round, where the code measures before the next: the same models.",
        "On the whole test split only the last round is measured.",
    ),
)


def cells(seeds: int, quick: bool = False) -> list[Row]:
    """Return what identifies each run, seeds outermost but for the loader that came later.

    Examples
    --------
    >>> len(cells(3)), len(cells(3, quick=True))
    (90, 10)
    """
    alphas, rounds, count = ((0.1,), QUICK, 1) if quick else (ALPHAS, FULL, seeds)
    return [
        {"alpha": alpha, "loader": loader, "rounds": rounds, "method": method, "seed": seed}
        for seed in range(count)
        for loader in LOADERS
        for alpha in alphas
        for method in METHODS
    ]


def settings(cell: Row) -> dict[str, Any]:
    """Return what a cell is run with, but for its data and its network."""
    return BARE | {
        "strategy": STRATEGIES[cell["method"]],
        "rounds": cell["rounds"],
        "seed": cell["seed"],
        "fraction": 0.5,
        "client": {"name": f"{PARTS}:Steps", "shuffle": cell["loader"] == "shuffled"},
        "fit": {
            "batch_size": 32,
            "lr": 0.01,
            "momentum": 0.0,
            "weight_decay": DECAYS.get(cell["method"], 0.0),
        },
        "evaluate": {"samples": 10},  # of what is not reported: users' own tests are always whole
        "data.test": "local",
    }


def config(cell: Row) -> RunConfig:
    """Return the configuration of a cell."""
    return configured(settings(cell) | {"clients": USERS, "data.alpha": cell["alpha"]})


def curve(result: RunResult, tested: list[int]) -> list[float]:
    """Return the share of right answers of all users together after each round.

    A user who was not measured in a round has the model that it was last measured with.
    """
    weights, own = np.array(tested) / sum(tested), np.full(len(tested), np.nan)
    table = result.clients.to_pandas()
    found = []
    for _, rows in table[table.metric == "local"].groupby("round"):
        own[rows.client.to_numpy()] = rows.value.to_numpy()
        found.append(float(own @ weights))
    return found


@measuring
def measured(cell: Row) -> tuple[RunResult, Row]:
    """Run one, and measure it."""
    given = users(cell["alpha"])
    result = simulate(data=given, model=Net, **settings(cell))
    rounds = curve(result, [len(y) for *_, y in given])
    x, y = official()
    whole = [accuracy(result.model(user), x, y) for user in range(len(given))]
    return result, {
        "last": round(rounds[-1], 5),
        "best": listed(best(rounds)),
        "whole": round(float(np.mean(whole)), 5),
        "worst_whole": round(min(whole), 5),
    }


command = asked(ROWS, cells, measured, config)

if __name__ == "__main__":
    typer.run(command)
