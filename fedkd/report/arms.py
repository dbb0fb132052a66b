"""Which runs are averaged, and which compared: an arm's differ in their seed alone."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from ..errors import ConfigError
from ..rundir.identity import FREE
from .metrics import missing, value
from .reader import Run
from .statistics import differing_keys, settings, text

Names = str | Iterable[str]


def tabulate(
    runs: Sequence[Run], by: Names, over: Names, metric: str
) -> tuple[pd.DataFrame, list[str]]:
    """Return the runs' values, a row a run, and the keys that make an arm.

    Parameters
    ----------
    runs : sequence of Run
        Finished ones.
    by, over : str or iterable of str
        The keys that make an arm, by default all in which runs differ, and a setting.
    metric : str
        As `fedkd.report.metrics.value` takes it.

    Returns
    -------
    DataFrame, list of str
        ``arm``, ``setting``, ``seed``, ``value`` (NaN where a run has none), ``run`` (its place in
        `runs`), sorted by setting and arm in the order given.

    Raises
    ------
    ConfigError
        If a key is unknown, no run has the metric, or runs differ in anything else.
    """
    configs = [_decisive(run.config, metric) for run in runs]
    arm, setting = (_known(key, names, configs) for key, names in (("by", by), ("over", over)))
    if both := [key for key in arm if key in setting]:
        raise ConfigError("over", both[0], "is in --by, too: an arm or a setting, name it once")
    rest = [key for key in _differing(configs) if key not in {*arm, *setting}]
    if not arm:
        arm, rest = list(dict.fromkeys(["strategy", *rest])), []
        arm = [key for key in arm if key not in setting]
    if rest:
        raise _mixed(arm, rest, configs)
    rows = [
        (label(config, arm), label(config, setting, named=True), int(run.config["seed"]), place)
        for place, (config, run) in enumerate(zip(configs, runs, strict=True))
    ]
    table = pd.DataFrame(rows, columns=["arm", "setting", "seed", "run"])
    table["value"] = [value(run, metric) for run in runs]
    table = table.astype({"value": "float64"})
    if table["value"].isna().all():
        raise missing(metric, runs)
    for name in ("arm", "setting"):
        table[name] = pd.Categorical(table[name], table[name].unique(), ordered=True)
    table = table.sort_values(["setting", "arm", "seed"], kind="stable", ignore_index=True)
    return table.astype({"arm": str, "setting": str}), arm


def once(table: pd.DataFrame, runs: Sequence[Run]) -> tuple[pd.DataFrame, list[str]]:
    """Return `tabulate`'s table with one run a seed, and a note for each that is left out.

    Raises
    ------
    ConfigError
        If two runs that should be the same have other models.
    """
    notes = []
    for (_, arm, seed), same in table.groupby(["setting", "arm", "seed"], sort=False):
        first, *others = (runs[place] for place in same["run"])
        for other in others:
            if other.summary.get("digest") != first.summary.get("digest"):
                problem = f"is seed {seed} of {arm}, as {first.path} is, with another digest"
                raise ConfigError("run", other.path, f"{problem}: leave one out")
            notes.append(f"counted once: {other.path} is {first.path} again")
    return table.drop_duplicates(["setting", "arm", "seed"], ignore_index=True), notes


def label(config: dict[str, Any], keys: Sequence[str], *, named: bool = False) -> str:
    """Return the values of some keys, with their names where there are several.

    Examples
    --------
    >>> config = {"strategy.name": "knfu", "strategy.beta": 5.0, "data.alpha": 0.1}
    >>> label(config, ["strategy"]), label(config, ["strategy", "strategy.beta"])
    ('knfu', 'knfu, beta=5.0')
    >>> label(config, ["data.alpha"], named=True)
    'data.alpha=0.1'
    """
    parts = []
    for key in keys:
        plain = key == "strategy" or (len(keys) == 1 and not named)
        if key in config or f"{key}.name" in config:
            shown = text(_at(config, key))
            parts.append(shown if plain else f"{key.removeprefix('strategy.')}={shown}")
    return ", ".join(parts)


def _decisive(config: dict[str, Any], metric: str) -> dict[str, Any]:
    """Return what may decide a number: seconds depend on the engine, results do not."""
    timed = {"engine"} if metric.startswith("seconds") else set()
    free = set(FREE) - {"rounds"} - timed
    flat = settings(config)
    return {key: value for key, value in flat.items() if key.partition(".")[0] not in free}


def _at(config: dict[str, Any], key: str) -> Any:
    return config.get(key, config.get(f"{key}.name"))


def _known(option: str, names: Names, configs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the keys that somebody has named; fail at the first that no run has."""
    if isinstance(names, str):
        given = names.split(",")
    elif isinstance(names, Iterable) and all(isinstance(name, str) for name in names):
        given = list(names)
    else:
        raise ConfigError(option, names, "must be names of keys, such as strategy,strategy.beta")
    found = {key.removesuffix(".name"): None for config in configs for key in config}
    keys = [key.strip().removesuffix(".name") for key in given if key.strip()]
    if "seed" in keys:
        raise ConfigError(option, "seed", "is what is averaged; leave it out")
    for key in keys:
        if key not in found:
            raise ConfigError(option, key, "no key that decides these runs", found)
    return keys


def _differing(configs: Sequence[dict[str, Any]]) -> list[str]:
    strategies = {config.get("strategy.name") for config in configs}
    keys = [key.removesuffix(".name") for key in differing_keys(configs)]
    return list(dict.fromkeys([*(["strategy"] * (len(strategies) > 1)), *keys]))


def _mixed(arm: Sequence[str], rest: Sequence[str], configs: Sequence[dict[str, Any]]) -> Exception:
    def values(key: str) -> str:
        found = list(dict.fromkeys(text(_at(config, key)) for config in configs))
        return f"{key} ({', '.join(found[:4])}{', ...' if len(found) > 4 else ''})"

    by, keys = ",".join(arm), ",".join(rest)
    problem = f"runs also differ in {', '.join(map(values, rest))}, and only seeds are averaged: "
    remedy = f"add --over {keys} for a setting each, or compare --by {by},{keys}"
    return ConfigError("by", by, problem + remedy)
