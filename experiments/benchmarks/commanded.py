"""A sweep by the command line, as a user types it."""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .works import WORKS, Job


def sweep(job: Job) -> dict[str, Any]:
    """Run a sweep in a process of its own.

    Returns
    -------
    dict
        As `Stopwatch.told` has it, with the end of the first run that ended as the only one of the
        ``ends``; and ``later``, the seconds from there to the end of all, for each later run.
    """
    typed = [f"{name}={value}" for name, value in job.settings().items() if value is not None]
    with TemporaryDirectory(prefix="fedkd-bench-") as folder:
        where = Path(folder, "sweep")
        command = [sys.executable, "-m", "fedkd", "run", "-m", *WORKS[job.work].sweep, *typed]
        began = time.monotonic()
        subprocess.run([*command, f"run_dir={where}"], check=True)
        ended, offset = time.monotonic(), time.time() - time.monotonic()
        summaries = [os.stat(path).st_mtime - offset for path in where.glob("*/summary.json")]
    first = min(summaries)
    later = (ended - first) / (len(summaries) - 1)
    return {"began": began, "ends": [first], "cpu": 0.0, "phases": {}, "loss": None, "later": later}
