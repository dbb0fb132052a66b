"""``summary.json``: what scripts read of a run. Needs neither torch nor Ray: the report uses it."""

import platform
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from ..score import ALMA, Score

PHASES = ("fit", "fuse", "distil", "evaluate")
ADDED = ("tested", "evaluated", "worst_decile", "ece", "privacy", "diverged", "task", "metric")
"""Keys that summaries of earlier versions lack, beside those of `upgraded`."""

SCHEMA = 2
"""Of ``summary.json``; 1 had no tasks: it is read as that of a classification."""

PACKAGES = ("fedkd", "flwr", "ray", "torch", "numpy")


def floats(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as float64, NaN where null."""
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def derive(
    config: dict[str, Any], rounds: pa.Table, restarts: int = 0, score: Score = ALMA
) -> dict[str, Any]:
    """Return what a configuration and the rounds so far say (design: contracts).

    It is all of a summary that a run which was interrupted has; `complete` adds the rest.

    Parameters
    ----------
    config : dict
        The run's configuration, as in ``config.yaml``.
    rounds : pyarrow.Table
        A row a round.
    restarts : int
        Actors that were replaced.
    score : Score
        What the run's task is measured by.
    """
    numeric = [name for name in rounds.column_names if not pa.types.is_string(rounds[name].type)]
    columns = {name: floats(rounds[name]) for name in numeric}

    def total(name: str) -> float:
        return float(np.nansum(columns.get(name, np.zeros(1))))

    def scored(name: str) -> dict[str, float | None]:
        values = columns.get(name, np.zeros(0))
        kept = np.flatnonzero(np.isfinite(values))
        if not kept.size:
            return {"last": None, "best": None, "std": None}
        std = float(columns.get(f"{name}_std", values * np.nan)[kept[-1]])
        best = float(score.best(values[kept].tolist()))
        return {"last": float(values[kept[-1]]), "best": best, "std": std}

    own = config["data"].get("test", "official")

    def tested(name: str) -> int | None:
        """Return on how many samples the best round was measured; None = all of a client's own."""
        if (name, own) == (score.column("local"), "local"):
            return None
        values, samples = columns.get(name, np.zeros(0)), columns.get("evaluated", np.zeros(0))
        known = samples.size and np.isfinite(values).any()
        place = np.nanargmax if score.more else np.nanargmin
        count = samples[place(values)] if known else np.nan
        return int(count) if np.isfinite(count) else None

    def last(name: str) -> float | None:
        values = columns.get(name, np.zeros(0))
        kept = values[np.isfinite(values)]
        return float(kept[-1]) if kept.size else None

    diverged, both = last("diverged"), ("local", "global")
    headline = {name: scored(score.column(name)) for name in both}
    also = [name for name in columns if name.endswith(("_local", "_global"))]
    also = [name for name in also if name not in map(score.column, both)]
    return {
        "schema": SCHEMA,
        "strategy": config["strategy"]["name"],
        "data": config["data"]["name"],
        **{key: config[key] for key in ("clients", "rounds", "seed")},
        "engine": config["engine"]["name"],
        "task": str((config.get("task") or {"name": "classification"})["name"]),
        "metric": score.metric,
        "more_is_better": score.more,
        **{f"score_{name}": dict(values) for name, values in headline.items()},
        **{score.column(name): values for name, values in headline.items()},
        **({"metrics": {name: last(name) for name in also}} if also else {}),
        "tested": own,
        "evaluated": {
            "last": None if (count := last("evaluated")) is None else int(count),
            **{f"best_{name}": tested(score.column(name)) for name in both},
        },
        "worst_decile": {name: last(f"{score.column(name)}_worst") for name in both},
        "ece": last("alma_ece"),
        "privacy": _privacy(config, last("epsilon"), last("delta")),
        "rejected": int(total("rejected")),
        "diverged": None if diverged is None else int(diverged),
        "restarts": restarts,
        **{key: int(total(key)) for key in ("bytes_up", "bytes_down")},
        **{key: total(key) for key in ("virtual_seconds",) if key in columns},
        "seconds": {"total": total("seconds")} | {key: total(f"seconds_{key}") for key in PHASES},
    }


def upgraded(summary: dict[str, Any]) -> dict[str, Any]:
    """Return a summary of any version with the keys of this one's headline.

    Examples
    --------
    >>> old = {"schema": 1, "alma_local": {"last": 0.5}, "alma_global": {"last": 0.4}}
    >>> upgraded(old)["score_local"], upgraded(old)["more_is_better"]
    ({'last': 0.5}, True)
    """
    if summary.get("schema") != 1:
        return summary
    almas = {f"score_{name}": summary.get(f"alma_{name}") for name in ("local", "global")}
    return {"more_is_better": True} | {k: v for k, v in almas.items() if v} | summary


def best_on(summary: dict[str, Any], name: str) -> int | None:
    """Return on how many samples the best ``local`` or ``global`` was measured; None = on all.

    Examples
    --------
    >>> best_on({"evaluated": {"last": 10_000, "best_local": 2_000}}, "local")
    2000
    """
    tested = summary["evaluated"]
    best, last = tested[f"best_{name}"], tested["last"]
    return best if best is not None and best != last else None


def _privacy(config: dict[str, Any], epsilon: float | None, delta: float | None) -> dict[str, Any]:
    """Return what was spent by whoever spent most; null without a formal guarantee."""
    node = config.get("privacy") or {"name": "none"}
    names = node["name"] if isinstance(node["name"], list) else [node["name"]]
    accountant = None if epsilon is None else node.get("accountant", "rdp")
    return {
        "epsilon": epsilon,
        "delta": delta,
        "mechanism": "+".join(map(str, names)),
        "accountant": accountant,
    }


def complete(
    derived: dict[str, Any], *, seconds: float, startup: float, digest: str
) -> dict[str, Any]:
    """Return the summary of a finished run.

    Parameters
    ----------
    derived : dict
        What `derive` returned.
    seconds, startup : float
        Wall-clock seconds of the whole run, and until its first round.
    digest : str
        The run's digest.
    """
    timed = derived["seconds"] | {"total": seconds, "startup": startup}
    return derived | {"seconds": timed, "digest": digest, "versions": versions()}


def versions() -> dict[str, str]:
    """Return the versions of Python, and of the packages that decide what comes out."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


@cache  # it reads a file each
def _version(package: str) -> str:
    return version(package)
