"""The measured process: ``python -m fedkd.experiments.benchmarks.child JOB_JSON RESULT_FILE``."""

import json
import os
import sys
from importlib import import_module
from pathlib import Path

from .systems import MODULES
from .works import Job


def main(job_json: str, result: str) -> None:
    """Run a job and write its result as JSON; of several processes, the first one writes."""
    job = Job(**json.loads(job_json))
    module = import_module(f".{MODULES[job.system]}", __package__)
    told = module.run(job)
    if os.environ.get("RANK", "0") == "0":
        Path(result).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
