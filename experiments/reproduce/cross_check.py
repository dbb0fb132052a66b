"""fedkd beside public code: the same partition, first weights and settings, on either side.

``python -m fedkd.experiments.reproduce.cross_check`` runs our side of what two codes were run with:
HtFLlib, eight methods with the parameters of its own script, and SCARLET's. Every finished run is a
row of ``--rows FILE``; called again, it runs only what is missing. ``--quick`` is 2 rounds of one
seed. `cross_check_page` makes the page, beside the figures of their runs: `PUBLIC`, a row a run,
where ``change`` says what of their code was changed for it.
"""

from pathlib import Path
from typing import Any

import typer

from ...config import RunConfig
from ...run.python import simulate
from ...run.result import RunResult
from .cells import Row
from .cross_check_parts import HIDDEN
from .tables import BARE, asked, configured, measuring

ROWS = Path("docs/rows/cross_check.csv")
PUBLIC = Path("docs/rows/cross_check_public.csv")
FULL, QUICK = 20, 2
"""Rounds."""

SEEDS = 3
CLIENTS, SAMPLES, BATCH = 10, 200, 10
HERE = "fedkd.experiments.reproduce"
NET = f"{HERE}.cross_check_parts:Net"

RATE = 0.01
MUTUAL = 0.5 + 0.5 / 10
"""What FML's losses weigh there: half of the cross-entropy, and half of a divergence that is a mean
over ten classes, too. Ours have weights that sum to 1, so the learning rate makes up for it."""

SHARED = {"mentee": NET}

STRATEGIES: dict[str, Any] = {
    "local": "local",
    "lg_fedavg": "lg_fedavg",
    "fedgh": {"name": "fedgh", "epochs": 1, "lr": RATE, "batch_size": BATCH},
    "fedproto": {"name": "fedproto", "weight": 10.0},
    "fedtgp": {"name": "fedtgp", "weight": 10.0, "epochs": 100, "lr": RATE, "batch_size": BATCH},
    "fd": {"name": "fd", "weight": 1.0},
    "fml": {"name": "fml", "alpha": 0.5 / MUTUAL, "beta": 0.5 / MUTUAL} | SHARED,
    "fedkd_wu": {"name": "fedkd_wu", "hidden": HIDDEN, "floor": 1e-6} | SHARED,
    "dsfl": "dsfl",
    "scarlet": {"name": "scarlet", "duration": 0},
    "scarlet_cache": {"name": "scarlet", "duration": 5},
}
METHODS = tuple(STRATEGIES)
DISTILLING = "dsfl", "scarlet", "scarlet_cache"
"""Those with a transfer set: steps on all of it at once, so that its order is nothing."""

TRANSFER = 500


def cells(seeds: int, quick: bool = False) -> list[Row]:
    """Return what identifies each run, seeds outermost.

    Examples
    --------
    >>> len(cells(3)), len(cells(3, quick=True))
    (33, 11)
    """
    rounds, count = (QUICK, 1) if quick else (FULL, seeds)
    return [
        {"rounds": rounds, "method": method, "seed": seed}
        for seed in range(count)
        for method in METHODS
    ]


def strategy(cell: Row) -> Any:
    """Return a cell's method: FedKD's share of energy rises until the last round, as there."""
    found = STRATEGIES[cell["method"]]
    return found | {"ramp": cell["rounds"]} if cell["method"] == "fedkd_wu" else found


def settings(cell: Row) -> dict[str, Any]:
    """Return what a cell is run with."""
    rate = RATE * MUTUAL if cell["method"] == "fml" else RATE
    in_order = {"name": f"{HERE}.fedgen_parts:Steps", "steps": SAMPLES // BATCH, "shuffle": False}
    extra = {}
    if cell["method"] in DISTILLING:
        distil = {"epochs": 5, "batch_size": TRANSFER, "lr": 0.1, "optimizer": "sgd"}
        extra = {"transfer": {"size": TRANSFER}, "distil": distil}
    return BARE | {
        "strategy": strategy(cell),
        "rounds": cell["rounds"],
        "seed": cell["seed"],
        "clients": CLIENTS,
        "data": {"name": "mnist", "alpha": 0.5, "samples_per_client": SAMPLES},
        "model": {"name": NET, "start": cell["seed"]},
        "client": in_order,
        "fit": {"epochs": 1, "batch_size": BATCH, "lr": rate, "momentum": 0.0},
        "evaluate": {"every": cell["rounds"]},
        **extra,
    }


def config(cell: Row) -> RunConfig:
    """Return the configuration of a cell."""
    return configured(settings(cell))


@measuring
def measured(cell: Row) -> tuple[RunResult, Row]:
    """Run one, and measure it."""
    result = simulate(**settings(cell))
    last = {name: result.summary[f"alma_{name}"]["last"] for name in ("local", "global")}
    return result, {"local": round(last["local"], 6), "overall": round(last["global"], 6)}


command = asked(ROWS, cells, measured, config, usual=SEEDS)

if __name__ == "__main__":
    typer.run(command)
