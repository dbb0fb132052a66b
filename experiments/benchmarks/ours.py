"""Run a job with fedkd."""

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from ...callbacks import Callback, RoundRecord
from ...run.python import simulate
from .commanded import sweep
from .stopwatch import Stopwatch
from .works import WORKS, Job


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
    """Run a job; a whole run leaves a run directory with everything that users find there.

    Returns
    -------
    dict
        See `Stopwatch.told`; and how many test samples a whole run's models were ``tested`` on in
        each round.
    """
    work = WORKS[job.work]
    if work.sweep:
        return sweep(job)
    clock = Clock(Stopwatch(job.sizes.rounds))
    settings = job.settings()
    strategy, model = settings.pop("strategy"), settings.pop("model")
    with TemporaryDirectory(prefix="fedkd-bench-") as folder:
        if work.whole:
            settings["run_dir"] = str(Path(folder, "run"))
        simulate(strategy, job.data, model, callbacks=[clock], **settings)
    steady = clock.rows[1:-1]
    names = [name for name in steady[0] if name.startswith("seconds_")]
    phases = {n.removeprefix("seconds_"): median(row[n] for row in steady) for n in names}
    told = clock.watch.told(phases=phases)
    if not work.whole:
        return told
    return told | {"tested": [int(row["evaluated"] or 0) for row in clock.rows]}
