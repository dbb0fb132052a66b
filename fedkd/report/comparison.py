"""``fedkd compare --by``: methods compared over seeds and settings, with statistics."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ..config.saved import readable
from ..errors import ConfigError
from . import remarks
from .arms import Names, once, tabulate
from .belonging import belonging
from .compared import Compared
from .metrics import Metric
from .reader import Run, find_runs, find_unstarted, load_runs
from .significance import TESTS, Difference, Ranks, holm, interval, paired
from .statistics import estimate, one_score, text
from .writing import html_table, save


class Comparison(Compared):
    """What `compare` found; a notebook shows it as a table."""

    def save(self, out: str | Path) -> Path:
        """Write it as the ending of `out` says (``fedkd.report.writing.FORMATS``).

        Raises
        ------
        ConfigError
            If the ending is unknown, or the file cannot be written.
        """
        return save(self, out)

    def to_pandas(self) -> pd.DataFrame:
        """Return its table."""
        return self.table

    def __repr__(self) -> str:
        versus = f" against {self.baseline}" if self.baseline is not None else ""
        arms, settings = self.table["arm"].nunique(), self.table["setting"].nunique()
        size = f"{arms} arm{'s' * (arms != 1)}, {settings} setting{'s' * (settings != 1)}"
        return f"<Comparison of {self.metric.name} by {self.by}{versus}: {size}>"

    def _repr_html_(self) -> str:
        return html_table(self)


def compare(
    runs: Any,
    *,
    by: Names = (),
    over: Names = (),
    metric: str = "score_local",
    baseline: str | float | None = None,
    test: str = "t",
) -> Comparison:
    """Compare finished runs: means over seeds, and paired differences to a baseline.

    Runs are paired by seed, which has dealt both the same data. Nothing but seeds is averaged.

    Parameters
    ----------
    runs : path, RunResult, Study, Run, or an iterable of them
        Run directories, folders of them such as a sweep, what `fedkd.simulate` and `fedkd.study`
        returned, or runs of a study.
    by : str or iterable of str
        The keys whose values are compared, such as ``"strategy"`` or ``"strategy,strategy.beta"``;
        by default all in which runs differ.
    over : str or iterable of str
        The keys that make a setting, such as ``"data.alpha"``: arms are compared within each, and
        ranked over all.
    metric : str
        A headline (``score_local``, ``alma_global``, ...) or any number of ``summary.json`` with
        dots (``seconds.total``), or the last of a column of ``rounds.parquet``.
    baseline : str or number, optional
        The arm that the others are compared to, as the table names it.
    test : str
        ``t`` or ``permutation``, both paired and two-sided.

    Returns
    -------
    Comparison
        Its ``table`` is a data frame; a notebook shows it.

    Raises
    ------
    ConfigError
        If runs of an arm and setting differ in anything but the seed, or arms in anything but
        `by`; if there is no finished run, no such metric, baseline or key; if tasks are measured
        by different things.

    Examples
    --------
    >>> import fedkd
    >>> small = {"clients": 3, "rounds": 1, "engine": "inline", "transfer.size": 40}
    >>> runs = [fedkd.simulate(name, **small) for name in ("local", "fedmd")]
    >>> found = fedkd.compare(runs, by="strategy", metric="bytes_up", baseline="local")
    >>> found.table[["arm", "seeds", "difference"]].values.tolist()
    [['local', 1, nan], ['fedmd', 1, 6096.0]]
    """
    if test not in TESTS:
        raise ConfigError("test", test, "no such test", TESTS)
    if not isinstance(metric, str):
        raise ConfigError("metric", metric, "must be the name of a number, such as score_local")
    paths = _paths(runs)
    loaded = load_runs(find_runs(paths))
    finished = [run for run in loaded if run.finished]
    if not finished:
        raise ConfigError("run", paths[0], "has no finished run to compare")
    with readable("run", finished[0].path, "cannot be compared"):
        score = one_score(finished)
        every, keys = tabulate(finished, by, over, metric)
        values, again = once(every, finished)
        table = _means(values)
        if baseline is not None:
            baseline = _named(text(baseline), values)
            table = _against(table, values, baseline, test)
        shown = Metric.of(metric, score, table["mean"], table["std"])
        best = table.groupby("setting", sort=False)["mean"].transform(shown.best)
        table = table.assign(best=best.astype(bool))
        ranks = _ranks(table, shown)
        notes = [
            *remarks.meaning(shown, table, baseline, test, ranks),
            *remarks.left_out(loaded, find_unstarted(paths)),
            *again,
            *remarks.doubts(table, values, finished, metric, baseline, test),
            *belonging(finished),
        ]
    values = values.assign(run=[str(finished[place].path) for place in values["run"]])
    return Comparison(table, values, shown, ", ".join(keys), baseline, ranks, notes, loaded)


def _paths(runs: Any) -> list[str | Path]:
    """Return the folders of what is to be compared."""
    one = isinstance(runs, str | Path | Run) or hasattr(runs, "run_dir")
    each = [runs] if one else list(runs) if isinstance(runs, Iterable) else [None]
    paths: list[Any] = [
        run.path if isinstance(run, Run) else getattr(run, "run_dir", run) for run in each
    ]
    if isinstance(runs, Mapping) or not all(isinstance(path, str | Path) for path in paths):
        problem = "must be a folder, a result, a study, or a list of these"
        raise ConfigError("runs", runs, f"{problem} (of a dict, its values())")
    return paths


def _means(values: pd.DataFrame) -> pd.DataFrame:
    """Return a row an arm and setting: its seeds, mean, deviation and interval."""
    rows = []
    for (setting, arm), runs in values.groupby(["setting", "arm"], sort=False):
        found, ends = estimate(runs["value"]), interval(runs["value"].dropna())
        rows.append((arm, setting, found.n, found.mean, found.std, *ends))
    return pd.DataFrame(rows, columns=["arm", "setting", "seeds", "mean", "std", "low", "high"])


def _named(baseline: str, values: pd.DataFrame) -> str:
    """Return the arm that somebody means, blanks aside."""
    arms = {str(arm).replace(" ", ""): str(arm) for arm in values["arm"]}
    if baseline.replace(" ", "") not in arms:
        raise ConfigError("baseline", baseline, "no such arm", arms.values())
    return arms[baseline.replace(" ", "")]


def _against(table: pd.DataFrame, values: pd.DataFrame, baseline: str, test: str) -> pd.DataFrame:
    """Return the table with differences to the baseline, seed by seed."""
    rows = []
    for arm, setting in zip(table["arm"], table["setting"], strict=True):
        here = values[values["setting"] == setting]
        seeds = here.pivot(index="seed", columns="arm", values="value")
        known = arm != baseline and baseline in seeds
        both = seeds[[arm, baseline]].dropna() if known else None
        rows.append(Difference() if both is None else paired(both[arm], both[baseline], test))
    found = pd.DataFrame([asdict(row) for row in rows])
    return table.join(found.assign(p_holm=holm(found["p"])))


def _ranks(table: pd.DataFrame, metric: Metric) -> Ranks | None:
    """Return the ranks over the settings that all arms have, if there are several of both."""
    means = table.pivot(index="setting", columns="arm", values="mean")
    means = means[table["arm"].unique()].dropna()
    several = min(means.shape) > 1
    return Ranks.of(means, metric.more) if several and metric.more is not None else None
