"""Run a job with fedkd."""

import time
from statistics import median
from typing import Any

from ...callbacks import Callback, RoundRecord
from ...runner import simulate
from .works import Job


class Clock(Callback):
    """Notes when each round ended; as the last callback, so with the tables written."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.rows: list[dict[str, Any]] = []

    def on_round(self, record: RoundRecord) -> None:
        """Note the time."""
        self.ends.append(time.monotonic())
        self.rows.append(dict(record.scalars))


def run(job: Job) -> dict[str, Any]:
    """Run a job.

    Returns
    -------
    dict
        ``began`` and ``ends``: ``time.monotonic()`` at the start of the first round and at the end
        of each one up to the last steady one; ``phases``: median seconds of the steady rounds'
        phases.
    """
    clock = Clock()
    settings = job.settings()
    simulate(
        settings.pop("strategy"), job.data, settings.pop("model"), callbacks=[clock], **settings
    )
    steady = clock.rows[1:-1]
    names = [name for name in steady[0] if name.startswith("seconds_")]
    return {
        "began": clock.ends[0] - clock.rows[0]["seconds"],
        "ends": clock.ends[:-1],  # the last round is evaluated
        "phases": {n.removeprefix("seconds_"): median(row[n] for row in steady) for n in names},
    }
