"""``summary.json``: what scripts read of a run."""

import platform
import time
from importlib.metadata import version
from typing import Any

import numpy as np

from .callbacks import Callback, RoundRecord
from .config import RunConfig

PHASES = ("fit", "fuse", "distil", "evaluate")
PACKAGES = ("fedkd", "flwr", "ray", "torch", "numpy")


class Totals(Callback):
    """Adds up what the summary needs."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.restarts = 0

    def on_round(self, record: RoundRecord) -> None:
        """Keep the round's row."""
        self.rows.append(record.scalars)

    def accuracy(self, name: str) -> dict[str, float | None]:
        """Return last, best over rounds, and the last round's standard deviation over clients."""
        means = [row[f"alma_{name}"] for row in self.rows if row[f"alma_{name}"] is not None]
        last = self.rows[-1]
        best = float(np.max(means)) if means else None
        return {"last": last[f"alma_{name}"], "best": best, "std": last[f"alma_{name}_std"]}

    def total(self, column: str) -> Any:
        """Return the sum of a column."""
        return sum(row[column] for row in self.rows)


def summarise(
    config: RunConfig, totals: Totals, digest: str, began: float, startup: float
) -> dict[str, Any]:
    """Return the summary of a finished run (design: contracts).

    Parameters
    ----------
    began : float
        ``time.perf_counter()`` at the start of the run.
    startup : float
        Seconds until the first round.
    """
    seconds = {phase: totals.total(f"seconds_{phase}") for phase in PHASES}
    return {
        "schema": 1,
        "strategy": config.strategy["name"],
        "data": config.data.name,
        "clients": config.clients,
        "rounds": config.rounds,
        "seed": config.seed,
        "engine": config.engine.name,
        "alma_local": totals.accuracy("local"),
        "alma_global": totals.accuracy("global"),
        "rejected": totals.total("rejected"),
        "restarts": totals.restarts,
        "bytes_up": totals.total("bytes_up"),
        "bytes_down": totals.total("bytes_down"),
        "seconds": {"total": time.perf_counter() - began, **seconds, "startup": startup},
        "digest": digest,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    }
