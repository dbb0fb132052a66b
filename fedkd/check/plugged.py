"""A plug-in that is checked in tiny runs, and the promises that plug-ins of every kind make."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch
from torch import Tensor

from ..config import RunConfig
from ..config.overrides import compose, merge
from ..errors import ConfigError
from ..plugins.documented import entries
from ..plugins.table import Seam
from ..rng import Globals, scoped
from ..rounds.protocol import Strategy
from ..run.preparing import Objects
from ..run.result import RunResult
from ..run.runner import run
from .promises import Broken, Promise, Skipped

TINY: dict[str, Any] = {
    "clients": 5,
    "engine": "inline",
    "data.samples_per_client": 20,
    "transfer.size": 60,
    "fit.epochs": 1,
    "evaluate.every": 100,  # so only in the last round
}
"""Settings of the runs that a check makes; overrides come before them."""

ACTIVE: dict[str, Any] = {
    "strategy": {"name": "kafal", "rounds_per_cycle": 2, "budget": 0.1, "initial": 0.2},
    "data.samples_per_client": 30,
}
"""Settings of runs of active learning."""

CLASSES = 10

FILLED: dict[str, Any] = {"classes": CLASSES, "device": "cpu"}
"""What else a run fills in."""

STRATEGIES: dict[str, dict[str, Any]] = {
    "soft_labels": {"name": "fedmd", "exchange": "soft_labels"},
    "logits": {"name": "fedmd", "exchange": "logits"},
    "class_knowledge": {"name": "fd"},
    "parameters": {"name": "feddf"},
}
"""A strategy that exchanges this kind of knowledge, for what is made for it."""


@dataclass
class Plugged:
    """A plug-in to check.

    Parameters
    ----------
    seam : Seam
        What it is.
    name : str
        As it was given.
    node : dict
        ``{"name": ..., parameter: value}``.
    config : RunConfig
        That of the tiny runs, in which it has something to do.
    engines : bool
        Whether to run on Ray too.
    strategy : callable, optional
        Returns a strategy object for a run.
    """

    seam: Seam
    name: str
    node: dict[str, Any]
    config: RunConfig
    engines: bool = False
    strategy: Callable[[], Strategy] | None = field(default=None, repr=False)

    def make(self, **more: Any) -> Any:
        """Return a new object, with more parameters than the user gave."""
        return self.seam.create(self.node | more, self.config.to_dict() | FILLED)

    def run(self, **settings: Any) -> RunResult:
        """Make a tiny run."""
        own = Objects(strategy=self.strategy() if self.strategy else None)
        return run(merge(self.config, **settings), objects=own, report=False)

    def resume(self, run_dir: Path, **settings: Any) -> RunResult:
        """Go on with one."""
        own = Objects(strategy=self.strategy() if self.strategy else None)
        config = merge(compose([f"resume={run_dir}"]), **settings)
        return run(config, objects=own, report=False)


def plugged(
    seam: Seam,
    target: str,
    overrides: Sequence[str] = (),
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> Plugged:
    """Return a plug-in of which a configuration has one.

    Parameters
    ----------
    seam, target, overrides
        What it is, its name, and ``KEY=VALUE`` as for ``fedkd run``.
    settings : dict, optional
        Those of the runs, beside `TINY`; without a strategy, one that has what it is made for.
    **options
        See `Plugged`.

    Raises
    ------
    ConfigError
        If there is no such class, or an override cannot be used.
    """
    cls = seam.resolve(target)
    config = compose([f"{seam.key}={target}", *overrides])
    given = dict(getattr(config, seam.key))
    own: dict[str, Any] = {seam.key: brief(cls) | given}
    if not (settings or any(text.startswith("strategy") for text in overrides)):
        own["strategy"] = STRATEGIES[(getattr(cls, "kinds", None) or ["soft_labels"])[0]]
    whole = merge(config, **TINY | own | (settings or {}))
    return Plugged(seam, target, own[seam.key], whole, **options)


def brief(cls: Any) -> dict[str, Any]:
    """Return the parameters with which a class says that it can be checked in tiny runs."""
    return dict(getattr(cls, "brief", {}))


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


@contextmanager
def aside(what: str, seed: int = 0) -> Iterator[None]:
    """Break the promise if what is done inside draws from, or seeds, a global generator."""
    with scoped(seed):
        before = Globals.now()
        yield
        if not Globals.now().same(before):
            raise Broken(f"{what} draws from (or seeds) a global random generator")


@contextmanager
def untouched(what: str, **given: Tensor) -> Iterator[None]:
    """Break the promise if one of these tensors is changed inside."""
    before = {name: value.detach().clone() for name, value in given.items()}
    yield
    for name, value in given.items():
        if not torch.equal(value, before[name]):
            raise Broken(f"{what} changes {name}")


def expect(held: object, problem: str) -> None:
    """Break the promise unless something holds."""
    if not held:
        raise Broken(problem)


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
    """Run four rounds; then two, and two more from the checkpoint; not all clients in a round."""
    return resumed(subject, "it remembers something that no checkpoint has")


def resumed(subject: Runs, otherwise: str) -> str:
    """Do so, and say `otherwise` if they end differently."""
    settings = {"fraction": 0.6, "checkpoint.every": 2}
    whole = subject.run(rounds=4, **settings).summary["digest"]
    with TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        subject.run(rounds=2, run_dir=str(run_dir), **settings)
        parts = subject.resume(run_dir, rounds=4).summary["digest"]
    if parts != whole:
        told = f"four rounds end with {whole[:12]}, two and two more with {parts[:12]}"
        raise Broken(f"{told}: {otherwise}")
    return f"2 rounds and 2 more end as 4 do ({whole[:12]})"


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
