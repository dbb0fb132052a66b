"""Group runs that differ only in their seed, and average over seeds."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..config import RunConfig
from ..errors import ConfigError
from ..rundir.identity import BEFORE
from ..rundir.summary import best_on
from ..score import Score
from .reader import Run

Runs = Run | Sequence[Run]

NOT_SETTINGS = ("seed", "run_dir", "log")


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds: ``std`` is the sample standard deviation, ``se`` that of the mean.

    Both are NaN for one seed.
    """

    mean: float
    std: float
    se: float
    n: int


def estimate(values: Iterable[float | None]) -> Estimate:
    """Return mean, sample standard deviation and standard error; missing values do not count.

    Examples
    --------
    >>> estimate([1.0, 2.0, 3.0])
    Estimate(mean=2.0, std=1.0, se=0.5773502691896258, n=3)
    """
    known = np.array([value for value in values if value is not None], np.float64)
    known = known[np.isfinite(known)]
    n = known.size
    std = float(known.std(ddof=1)) if n > 1 else math.nan
    return Estimate(float(known.mean()) if n else math.nan, std, std / math.sqrt(max(n, 1)), n)


@dataclass
class Group:
    """Runs of the same configuration, one a seed.

    Attributes
    ----------
    runs : list of Run
        At most one a seed: a second run of the same seed would be the same run.
    settings : dict
        The values of the keys in which this group differs from the others compared, as overrides
        spell them.
    values : dict
        The same, with numbers as numbers.
    """

    runs: list[Run]
    settings: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def strategy(self) -> str:
        """The strategy's name."""
        return self.runs[0].strategy

    @property
    def score(self) -> Score:
        """What the task is measured by."""
        return self.runs[0].score

    @property
    def label(self) -> str:
        """The strategy and what sets this group apart.

        A setting of the strategy itself goes without its prefix: ``knfu, beta=5``.
        """
        parts = [f"{key.removeprefix('strategy.')}={text}" for key, text in self.settings.items()]
        return ", ".join([self.strategy, *parts])

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs, in order."""
        return [int(run.config["seed"]) for run in self.runs]

    def over_seeds(self, value: Callable[[Run], float | None]) -> Estimate:
        """Return the estimate of ``value(run)`` over the runs."""
        return estimate(value(run) for run in self.runs)

    def scored(self, name: str, which: str = "last") -> Estimate:
        """Return ``local`` or ``global`` of the headline over seeds; `which`: last or best."""
        return self.over_seeds(lambda run: run.summary[f"score_{name}"][which])

    def spread(self, name: str) -> float:
        """Return the std over seeds, or over the clients where there is one seed."""
        if len(self.runs) > 1:
            return self.scored(name).std
        std = self.runs[0].summary[f"score_{name}"]["std"]
        return math.nan if std is None else float(std)

    def curve(self, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``(rounds, mean, spread)`` of a column of rounds.parquet, each ``[rounds]``.

        Rounds without a value are left out. The spread is as in `spread`, NaN where unknown.
        """
        points: dict[int, list[float]] = {}
        spreads: dict[int, float] = {}
        for run in self.runs:
            rows = zip(
                run.rounds["round"].to_pylist(),
                run.column(column),
                run.column(f"{column}_std"),
                strict=True,
            )
            for number, value, std in rows:
                if math.isfinite(value):
                    points.setdefault(number, []).append(value)
                    spreads[number] = std
        found = {number: estimate(values) for number, values in sorted(points.items())}
        several = len(self.runs) > 1
        spread = [each.std if several else spreads[number] for number, each in found.items()]
        return np.array(list(found)), np.array([e.mean for e in found.values()]), np.array(spread)

    def sampling_error(self, column: str) -> np.ndarray:
        """Return the standard error of a `curve` from testing on a subset; NaN where on all.

        All seeds are tested on the same samples, so that of a mean is at most the mean of theirs.
        """
        values: dict[int, list[float]] = {}
        for run in self.runs:
            numbers, errors = run.rounds["round"].to_pylist(), run.column(f"{column}_se")
            for number, error in zip(numbers, errors, strict=True):
                values.setdefault(number, []).append(error)
        return np.array([estimate(values[number]).mean for number in self.curve(column)[0]])

    def tested(self, name: str) -> int | None:
        """Return on how many samples a headline's best round was measured, where not on all."""
        found = [best_on(run.summary, name) for run in self.runs]
        return min((samples for samples in found if samples), default=None)


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Return the groups of runs that differ only in their seed, in the order given.

    Of several runs with one seed, the last one that finished stands for all.
    """
    one_score(runs)
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:
        key = repr(sorted(settings(run.config).items()))
        seeds, seed = groups.setdefault(key, {}), int(run.config["seed"])
        if seed not in seeds or run.finished or not seeds[seed].finished:
            seeds[seed] = run
    result = [Group(list(seeds.values())) for seeds in groups.values()]
    configs = [settings(group.runs[0].config) for group in result]
    for key in differing_keys(configs):
        for group, config in zip(result, configs, strict=True):
            if key in config:
                group.settings[key.removesuffix(".name")] = text(config[key])
                group.values[key.removesuffix(".name")] = plain(config[key])
    return result


def one_score(runs: Sequence[Run]) -> Score:
    """Return what all runs are measured by; fail if that is not the same."""
    for run in runs:
        if run.score != runs[0].score:
            problem = f"is measured by {run.score.metric}, and {runs[0].path} by "
            raise ConfigError(
                "run", run.path, f"{problem}{runs[0].score.metric}: not to be compared"
            )
    return runs[0].score


def as_groups(runs: Runs) -> list[Group]:
    """Return the groups of one run or of several."""
    return group_runs([runs] if isinstance(runs, Run) else list(runs))


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the flat configuration without seed and run directory: ``{"fit.lr": 0.05, ...}``.

    A key that is newer than the run was at its default.
    """
    flat = flatten(config)
    for key, default in (flatten(RunConfig().to_dict()) | flatten(BEFORE)).items():
        if isinstance(config.get(key.partition(".")[0], {}), dict):  # and not a list of parts
            flat.setdefault(key, default)
    return {key: value for key, value in flat.items() if key not in NOT_SETTINGS}


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return one entry per leaf of nested dicts.

    Examples
    --------
    >>> flatten({"fit": {"lr": 0.1}, "seed": 0})
    {'fit.lr': 0.1, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + str(key)] = value
    return flat


def differing_keys(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the keys in which flat configurations differ, except the strategy's name.

    Parameters of a named thing (``strategy.beta``) are compared between those of one name only:
    that knfu has a beta and fedmd has none is no difference worth a column. So are objectives
    between runs of one strategy, because each strategy brings its own.
    """
    keys = []
    for key in dict.fromkeys(key for config in configs for key in config):
        name = f"{key.rpartition('.')[0]}.name"
        if key.startswith("objective."):
            name = "strategy.name"
        by_name: dict[str, set[str]] = {}
        for config in configs:
            owner = repr(config.get(name)) if key != name else ""
            by_name.setdefault(owner, set()).add(repr(config.get(key)))
        if key != "strategy.name" and any(len(values) > 1 for values in by_name.values()):
            keys.append(key)
    return keys


def plain(value: Any) -> Any:
    """Return a configuration value for a cell of a data frame: a number, a bool or a text.

    Examples
    --------
    >>> plain(0.1), plain(["mlp", "lenet5"])
    (0.1, '[mlp,lenet5]')
    """
    return value if isinstance(value, bool | int | float) else text(value)


def text(value: object) -> str:
    """Return a configuration value as an override spells it.

    Examples
    --------
    >>> text(None), text(True), text(["mlp", "lenet5"])
    ('null', 'true', '[mlp,lenet5]')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(text(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{text(item)}' for key, item in value.items())}}}"
    return str(value)
