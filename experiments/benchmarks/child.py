"""The measured process: ``python -m fedkd.experiments.benchmarks.child JOB_JSON RESULT_FILE``."""

import json
import sys
from importlib import import_module
from pathlib import Path

from .works import MODULES, Job


def main(job_json: str, result: str) -> None:
    """Run a job and write its result as JSON."""
    job = Job(**json.loads(job_json))
    module = import_module(f".{MODULES[job.system]}", __package__)
    Path(result).write_text(json.dumps(module.run(job)))


if __name__ == "__main__":
    main(*sys.argv[1:])
