"""Run a job with fedkd."""

from statistics import median
from typing import Any

from ...callbacks import Callback, RoundRecord
from ...run.python import simulate
from .stopwatch import Stopwatch
from .works import Job


class Clock(Callback):
    """Notes when each round ended; as the last callback, so with the tables written."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch
        self.rows: list[dict[str, Any]] = []

    def on_round(self, record: RoundRecord) -> None:
        """Note the time."""
        self.watch.lap()  # not of the last round, which is evaluated
        if not self.rows:
            self.watch.began = self.watch.ends[0] - float(record.scalars["seconds"] or 0)
        self.rows.append(dict(record.scalars))


def run(job: Job) -> dict[str, Any]:
    """Run a job.

    Returns
    -------
    dict
        See `Stopwatch.told`.
    """
    clock = Clock(Stopwatch(job.sizes.rounds))
    settings = job.settings()
    simulate(
        settings.pop("strategy"), job.data, settings.pop("model"), callbacks=[clock], **settings
    )
    steady = clock.rows[1:-1]
    names = [name for name in steady[0] if name.startswith("seconds_")]
    phases = {n.removeprefix("seconds_"): median(row[n] for row in steady) for n in names}
    return clock.watch.told(phases=phases)
