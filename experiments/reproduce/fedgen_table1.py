"""FedGen's Table 1 on MNIST: whether a generator of features beats FedAvg and FedDistill.

``python -m fedkd.experiments.reproduce.fedgen_table1`` runs the protocol of the published code
(`fedgen_protocol`, `fedgen_parts`) with five methods. Every finished run is a row of
``--rows FILE``: its last and its best five rounds on the users' own test pictures, and the last
round on the whole test split. Called again, it runs only what is missing. ``--quick`` is 20 rounds
of one seed at alpha 0.1: a few CPU minutes. `fedgen_table1_page` makes the page.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ...errors import FedkdError
from ...run.python import simulate
from ...run.result import RunResult
from .cells import Row
from .claims import Claim, filled, listed
from .fedgen_protocol import Arrays, Net, accuracy, best, official, users

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

OWN_TESTS: dict[str, Any] = {"data.test": "local"}


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


def ran(cell: Row, given: list[Arrays]) -> RunResult:
    """Run one cell."""
    return simulate(
        STRATEGIES[cell["method"]],
        data=given,
        model=Net,
        rounds=cell["rounds"],
        seed=cell["seed"],
        fraction=0.5,
        engine="inline",
        device="cpu",
        client={"name": f"{PARTS}:Steps", "shuffle": cell["loader"] == "shuffled"},
        fit={
            "batch_size": 32,
            "lr": 0.01,
            "momentum": 0.0,
            "weight_decay": DECAYS.get(cell["method"], 0.0),
        },
        transfer={"data": np.zeros((1, 1, 28, 28), np.float32), "size": 1},  # nobody looks at it
        evaluate={"samples": 10},  # of what is not reported: users' own tests are always whole
        checkpoint={"every": None},
        callbacks=[],
        **OWN_TESTS,
    )


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


def measured(cell: Row) -> Row | None:
    """Run one; say so if it is refused or fails, and leave it."""
    began, given = time.process_time(), users(cell["alpha"])
    try:
        result = ran(cell, given)
    except FedkdError as error:
        typer.echo(f"left out: {cell}: {error}", err=True)
        return None
    rounds = curve(result, [len(y) for *_, y in given])
    x, y = official()
    whole = [accuracy(result.model(user), x, y) for user in range(len(given))]
    return {
        "last": round(rounds[-1], 5),
        "best": listed(best(rounds)),
        "whole": round(float(np.mean(whole)), 5),
        "worst_whole": round(min(whole), 5),
        "bytes_up": result.summary["bytes_up"],
        "cpu_seconds": round(time.process_time() - began, 1),
        "digest": result.summary["digest"][:16],
    }


def command(
    *,
    rows: Annotated[Path, typer.Option(help="CSV file, a row a run.")] = ROWS,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
    plan: Annotated[bool, typer.Option("--plan", help="Say what is missing; run nothing.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="20 rounds of seed 0, alpha 0.1.")] = False,
) -> None:
    """Run what is missing; keep every finished run."""
    filled(rows, cells(seeds, quick), measured, jobs, plan)


if __name__ == "__main__":
    typer.run(command)
