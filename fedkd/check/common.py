"""The promises that plug-ins of every kind make."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from ..errors import ConfigError
from ..plugins.documented import entries
from ..rng import scoped
from ..run.result import RunResult
from .plugged import Plugged
from .promises import Broken, Promise, Skipped


def constructs(subject: Plugged) -> str:
    """Make one."""
    return type(subject.make()).__name__


def refuses(subject: Plugged) -> str:
    """Give it a parameter that it does not have, and for each number what may be none."""
    if refused(subject, "no_such_parameter", 1) is None:
        raise Broken("no_such_parameter=1 is taken")
    cls = subject.seam.resolve(subject.name)
    numbers = [e.key for e in entries(cls, subject.seam.from_run) if "float" in e.type]
    for name in numbers:
        if refused(subject, name, float("nan")) is None:
            raise Broken(f"{name}=nan is taken")
        for value in (-1.0, float("inf")):
            refused(subject, name, value)
    return f"an unknown parameter, and NaN for {', '.join(numbers) or 'nothing else'}"


def refused(subject: Plugged, name: str, value: float) -> str | None:
    """Return why a parameter's value is refused, None if it is not.

    Raises
    ------
    Broken
        If one could not tell by the reason which parameter it is.
    """
    try:
        subject.make(**{name: value})
    except ConfigError as error:
        if name in str(error) and "cannot be made: " not in str(error):
            return error.problem
        raise Broken(f"{name}={value} is refused in other words: {error}") from error
    return None


def repeats(subject: Plugged) -> str:
    """Run twice, with other global random numbers."""
    digests = []
    for seed in (1, 2):
        with scoped(seed):
            digests.append(subject.run(rounds=2).summary["digest"])
    if digests[0] != digests[1]:
        raise Broken(f"the same run ends with {digests[0][:12]} and {digests[1][:12]}")
    return f"twice {digests[0][:12]}"


class Runs(Protocol):
    """What is checked in tiny runs."""

    engines: bool

    def run(self, **settings: Any) -> RunResult:
        """Make a tiny run."""

    def resume(self, run_dir: Path, **settings: Any) -> RunResult:
        """Go on with one."""


def resumes(subject: Runs) -> str:
    """Run four rounds; then the last two again, from the checkpoint; not all clients in a round."""
    return resumed(subject, "it remembers something that no checkpoint has")


def resumed(subject: Runs, otherwise: str) -> str:
    """Do so, and say `otherwise` if they end differently."""
    settings = {"rounds": 4, "fraction": 0.6, "checkpoint.every": 2}
    with TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        whole = subject.run(run_dir=str(run_dir), **settings).summary["digest"]
        (_, last) = sorted((run_dir / "checkpoint").iterdir())
        shutil.rmtree(last)  # as if the run had been killed before it was there
        parts = subject.resume(run_dir).summary["digest"]
    if parts != whole:
        told = f"four rounds end with {whole[:12]}, from the second on again with {parts[:12]}"
        raise Broken(f"{told}: {otherwise}")
    return f"rounds 3 and 4, resumed, end as the run did ({whole[:12]})"


def engines(subject: Runs) -> str:
    """Run in this process and on two actors."""
    if not subject.engines:
        raise Skipped("add --engines to run on Ray too")
    inline = subject.run(rounds=2).summary["digest"]
    ray = subject.run(rounds=2, engine={"name": "ray", "actors": 2}).summary["digest"]
    if ray != inline:
        raise Broken(f"inline ends with {inline[:12]}, ray with {ray[:12]}")
    return f"inline and ray end with {inline[:12]}"


MADE: tuple[Promise, ...] = (
    Promise("constructs", "can be made with its defaults", constructs, vital=True),
    Promise("refuses", "refuses what it cannot use, by name", refuses),
)
"""What every plug-in promises that is made of a configuration."""

IN_RUNS: tuple[Promise, ...] = (
    Promise("repeats", "has runs that can be repeated", repeats),
    Promise("resumes", "can be interrupted and resumed", resumes),
    Promise("engines", "does not depend on the engine", engines),
)
"""What every plug-in promises that takes part in runs."""
