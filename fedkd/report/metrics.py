"""Any number that runs have, by name: its value, whether more is better, how it is shown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..errors import ConfigError
from ..score import Score
from .reader import Run
from .statistics import flatten

HEADLINE = ("local", "global")

LESS = (
    *("rmse", "mae", "nll", "perplexity", "ece", "bytes_up", "bytes_down", "seconds"),
    *("virtual_seconds", "rejected", "diverged", "restarts", "privacy"),
)
MORE = ("accuracy", "r2", "next_token")
"""Whether less or more is better, of what is no headline, by how the name begins."""


def value(run: Run, name: str) -> float | None:
    """Return a number of a finished run; None where it has none, or one that is not finite.

    Parameters
    ----------
    run : Run
        Where to look.
    name : str
        A key of ``summary.json``, with dots (``seconds.total``), and of what has several, the last
        (``alma_local``; ``alma_local.best`` is another); a task's metric (``mae_global``); or a
        column of ``rounds.parquet``, whose last value counts.
    """
    found: Any = run.summary | (run.summary.get("metrics") or {})
    for key in name.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, dict):
        found = found.get("last")
    if found is None and name in _numeric(run):
        known = [one for one in run.column(name) if math.isfinite(one)]
        found = known[-1] if known else None
    number = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return float(found) if number else None


def _numeric(run: Run) -> list[str]:
    return [field.name for field in run.rounds.schema if not pa.types.is_string(field.type)]


@dataclass(frozen=True)
class Metric:
    """A number that runs are compared by.

    Attributes
    ----------
    name : str
        As `value` takes it.
    title : str
        What tables call it, with its unit.
    more : bool or None
        Whether more is better; None where nobody knows.
    scale : int
        What values are multiplied by where they are shown.
    digits : int
        How many there are after the point.
    """

    name: str
    title: str
    more: bool | None
    scale: int = 1
    digits: int = 0

    @classmethod
    def of(cls, name: str, score: Score, means: pd.Series, stds: pd.Series) -> "Metric":
        """Return a metric of runs with these means and standard deviations over seeds.

        A percentage has one digit, as everywhere; of other numbers the smallest deviation has two,
        and where there is none, the largest mean four.
        """
        first, _, last = name.partition(".")
        known = {score.column(n): n for n in HEADLINE} | {f"score_{n}": n for n in HEADLINE}
        if (first in known or first == "worst_decile") and last != "std":
            title = score.title(known[first]) + f" {last}" * bool(last) if first in known else name
            digits = 1 if score.percent else _digits(means, stds)
            return cls(name, title + score.unit, score.more, score.scale, digits)
        begins = [side for side, names in ((False, LESS), (True, MORE)) if _begins(first, names)]
        return cls(name, name, begins[0] if begins else None, 1, _digits(means, stds))

    def text(self, number: float, sign: str = "") -> str:
        """Return a value as it is shown; ``-`` for none."""
        return f"{self.scale * number:{sign}.{self.digits}f}" if math.isfinite(number) else "-"

    def best(self, means: pd.Series) -> pd.Series:
        """Say which means are best; what looks equal ties."""
        shown = means.map(lambda mean: round(self.scale * mean, self.digits))
        top = {True: shown.max(), False: shown.min(), None: math.nan}[self.more]
        return shown == top


def _begins(name: str, names: Sequence[str]) -> bool:
    return any(name == one or name.startswith(f"{one}_") for one in names)


def _digits(means: pd.Series, stds: pd.Series) -> int:
    spread, sizes = stds[stds > 0], means[means != 0].abs().dropna()
    if len(spread):
        wanted = 1 - math.floor(math.log10(spread.min()))
    else:
        wanted = 3 - math.floor(math.log10(sizes.max())) if len(sizes) else 1
    return int(np.clip(wanted, 0, 6))


def missing(name: str, runs: Sequence[Run]) -> ConfigError:
    """Return the error that no run has a metric, with those there are."""
    leaves = [key for key in flatten(runs[0].summary) if value(runs[0], key) is not None]
    names = dict.fromkeys(leaf.removesuffix(".last").removeprefix("metrics.") for leaf in leaves)
    return ConfigError("metric", name, "no run has this number", names)
