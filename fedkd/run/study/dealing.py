"""Which runs of a sweep are run beside others, and which are run alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import mean

import torch

from ...config import EngineConfig, RunConfig
from ...config.overrides import compose, split_study, sweep, sweep_names
from ...config.study import StudyConfig
from ...config.trust import outside
from ...engine.cluster import cores
from ...errors import ConfigError
from ..parallel import SMALL_SECONDS, memory_each
from ..worker import Limits, expected

START_SECONDS = 7.0
"""What a process takes on its core before its first run (as measured on two cores)."""

ESTIMATED = 3
"""Runs that tell what all of a sweep take, about."""


@dataclass(frozen=True)
class Run:
    """One run of a sweep."""

    name: str
    """of its folder"""
    config: RunConfig
    alone: str = ""
    """why it must be run alone, if it must"""

    @property
    def inline(self) -> RunConfig:
        """Its configuration beside others: their processes are the actors."""
        return replace(self.config, engine=replace(self.config.engine, name="inline"))


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep."""

    runs: Sequence[Run]
    at_once: int = 1
    """how many may be run beside one another"""
    limits: Limits | None = None
    """what a run may need for that; None = whatever it does"""

    def beside(self) -> list[int]:
        """Return which runs may be run beside others."""
        return [i for i, run in enumerate(self.runs) if self.at_once > 1 and not run.alone]


def read(overrides: Sequence[str]) -> Sweep:
    """Return the sweep that overrides describe.

    Raises
    ------
    ConfigError
        If one of its runs cannot be run, or not as ``study.parallel`` says.
    """
    return dealt(*spanned(overrides))


def spanned(overrides: Sequence[str]) -> tuple[StudyConfig, list[Run]]:
    """Return how the runs that overrides span are to be run, and all of them."""
    study, others = split_study(overrides)
    given = sweep(others)
    configs = [compose(one) for one in given]  # all of them, before the first one starts
    alone = [_alone(*one) for one in zip(configs, given, strict=True)]
    return study, [Run(*one) for one in zip(sweep_names(given), configs, alone, strict=True)]


def dealt(study: StudyConfig, runs: Sequence[Run]) -> Sweep:
    """Return runs as a sweep: which of them are run beside others."""
    most = min(_most(study), len(runs))
    if most < 2:
        runs = [replace(run, alone="") for run in runs]
    if study.parallel != "auto":
        if reason := next((run.alone for run in runs if run.alone), None):
            problem = f"{reason}: such a run is run alone; use auto, or engine=inline device=cpu"
            raise ConfigError("study.parallel", study.parallel, problem)
        return Sweep(runs, most)
    most = min(most, sum(not run.alone for run in runs))
    if most > 1 and not _worth_it([run for run in runs if not run.alone], most):
        return Sweep(runs)
    return Sweep(runs, most, Limits(SMALL_SECONDS, memory_each(most))) if most > 1 else Sweep(runs)


def _worth_it(runs: Sequence[Run], at_once: int) -> bool:
    """Tell whether processes for these runs save more time than it takes to start them.

    A few runs are estimated here, and stand for all. Runs that have an engine to start wait for
    it as long, and plug-ins are not imported where they are not to run.
    """
    if any(run.config.engine.name != "inline" or [*outside(run.config.to_dict())] for run in runs):
        return True
    few = [run.config for run in runs[:: ceil(len(runs) / ESTIMATED)]]
    saved = len(runs) * mean(map(expected_seconds, few)) * (1 - 1 / at_once)
    return saved > START_SECONDS


def expected_seconds(config: RunConfig) -> float:
    """Return what a run takes on a core, about; one that cannot start takes none."""
    cost = expected(config)
    return cost.seconds if cost else 0.0


def _most(study: StudyConfig) -> int:
    """Return how many runs there may be at once."""
    if study.parallel in ("off", "auto"):
        return 1 if study.parallel == "off" else cores()
    if int(study.parallel) > cores():
        problem = f"is more than the CPU cores that this process may use ({cores()}); lower it"
        raise ConfigError("study.parallel", study.parallel, problem)
    return int(study.parallel)


def _alone(config: RunConfig, overrides: Sequence[str]) -> str:
    """Return what has a run have the machine for itself, if something does."""
    if config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available()):
        return f"device={config.device} is a GPU"
    if config.engine.name == "inline":
        return ""
    told = [one for one in overrides if one.lstrip("+").startswith(("engine=", "engine."))]
    if config.engine != EngineConfig():
        told.append("the engine of its preset" if not config.resume else "the engine it had")
    return f"{told[0]} is given" if told else ""
