"""How a job's process is started."""

import sys
from pathlib import Path

from ...engine.cluster import cores
from .systems import PEERS, SYSTEMS
from .works import Job


def python(system: str) -> Path:
    """Return the interpreter that runs a system."""
    known = SYSTEMS.get(system)
    return (
        Path(PEERS, known.venv, "bin", "python") if known and known.venv else Path(sys.executable)
    )


def launcher(job: Job) -> list[str]:
    """Return the start of the command line."""
    known, start = SYSTEMS.get(job.system), [str(python(job.system))]
    if known and known.distributed:
        start += ["-m", "torch.distributed.run", "--standalone"]
        start += ["--nproc-per-node", str(job.actors or cores())]
    return start
