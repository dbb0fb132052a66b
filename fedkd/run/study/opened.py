"""A study's folder as Python and notebooks see it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...config.definition import FILE, Definition
from ...errors import FedkdError
from .status import Status, known

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...report.comparison import Comparison
    from ...report.reader import Run
    from ...report.statistics import Group

BOTH = ("local", "global")


class Study:
    """A study: its runs, and what they came to. A notebook shows it as a table.

    All is read from its folder when it is asked for, also while another process runs the study.

    Parameters
    ----------
    run_dir : path
        The folder that `fedkd.study` or ``fedkd run -m`` wrote.

    Attributes
    ----------
    run_dir : Path
        The folder.
    definition : Definition
        What the study is.

    Raises
    ------
    ConfigError
        If the folder is no study's.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.run_dir = known(run_dir)
        self.definition = Definition.read(self.run_dir / FILE)

    @property
    def runs(self) -> "list[Run]":
        """The runs that have finished, in the order of the study; each has summary and tables."""
        from ...report.reader import Run

        states = {run.run: run.state for run in self.status().runs}
        return [Run.load(self.run_dir / name) for name, s in states.items() if s == "finished"]

    @property
    def failures(self) -> dict[str, str]:
        """Why runs have failed, by their names."""
        return {run.run: run.error for run in self.status().runs if run.state == "failed"}

    def status(self) -> Status:
        """Return how far it is: what ``fedkd status`` says."""
        return Status.read(self.run_dir)

    def table(self) -> pd.DataFrame:
        """Return means over seeds: a row for all runs that differ in nothing else.

        Returns
        -------
        DataFrame
            ``strategy``, the settings in which runs differ (numbers as numbers; missing where a run
            has no such key), ``seeds`` (how many), the task's score after the last round
            (``score_local``, ``score_global``; unscaled) with its sample standard deviation over
            seeds (``..._std``, NaN for one seed), ``bytes_up``, ``bytes_down`` and ``seconds``.

        Raises
        ------
        ConfigError
            If runs are measured by different things.
        """
        groups = self._groups()
        keys = list(dict.fromkeys(key for group in groups for key in group.settings))
        scores = [f"score_{name}{end}" for name in BOTH for end in ("", "_std")]
        columns = ["strategy", *keys, "seeds", *scores, "bytes_up", "bytes_down", "seconds"]
        return pd.DataFrame([_mean(group) for group in groups], columns=columns)

    def to_pandas(self) -> pd.DataFrame:
        """Return a row a run, whatever has become of it.

        Returns
        -------
        DataFrame
            ``run`` (its folder), ``state``, ``strategy``, the settings in which runs differ,
            ``seed``, ``score_local`` and ``score_global`` after the last round (unscaled),
            ``rounds``, ``bytes_up``, ``bytes_down``, ``seconds``, ``digest``, ``error``. What a run
            that has not finished lacks is missing.
        """
        from ...report.statistics import differing_keys, plain, settings

        runs = {run.path.name: run for run in self.runs}
        configs = {name: settings(run.config) for name, run in runs.items()}
        keys = differing_keys(list(configs.values()))
        rows = []
        for each in self.status().runs:
            row: dict[str, Any] = {"run": each.run, "state": each.state, "error": each.error}
            if (run := runs.get(each.run)) is not None:
                own = configs[each.run]
                row |= {k.removesuffix(".name"): plain(own[k]) for k in keys if k in own}
                row |= _numbers(run)
            rows.append(row)
        numbers = ["rounds", "bytes_up", "bytes_down", "seconds", "digest", "error"]
        first = ["run", "state", "strategy", *(key.removesuffix(".name") for key in keys), "seed"]
        scores = [f"score_{name}" for name in BOTH]
        columns = dict.fromkeys([*first, *scores, *numbers])  # runs may differ in their rounds
        table = pd.DataFrame(rows, columns=[*columns])
        whole = ["seed", "rounds", "bytes_up", "bytes_down"]
        return table.astype(dict.fromkeys(whole, "Int64") | dict.fromkeys(scores, "float64"))

    def compare(self, **asked: Any) -> "Comparison":
        """Compare its runs; the arguments are those of `fedkd.compare` after the first."""
        from ...report.comparison import compare

        return compare(self.run_dir, **asked)

    def plot_curves(self) -> "Figure":
        """Draw the task's score, local and global, against the round; seeds are averaged.

        Raises
        ------
        ConfigError
            If no run has finished, or runs are measured by different things.
        """
        from ...report import load_runs
        from ...report.drawing import figures

        return figures.learning_curves(load_runs(self.runs))

    def _groups(self) -> "list[Group]":
        from ...report import group_runs

        runs = self.runs
        return group_runs(runs) if runs else []

    def __repr__(self) -> str:
        try:
            told = self.status().headline
        except FedkdError as error:  # its folder has gone
            return f"<Study {error}>"
        return f"<Study {self.run_dir}, {told}>"

    def _repr_html_(self) -> str:
        from ...report.brief import report_line
        from ...report.footnotes import meaning, warnings
        from ...report.notebook import card
        from ...report.summary import subtitle
        from ...report.table import columns, rows

        try:
            status, groups = self.status(), self._groups()
        except FedkdError as error:
            return card("study", str(self.run_dir), [], [], str(error))
        lines = [status.headline, *status.more, *status.lines]
        if not groups:
            return card("study", str(self.run_dir), [], [], *lines)
        about = f"{self.run_dir}: {', '.join(subtitle(groups))}"
        notes = [meaning(groups)[1], *warnings(groups)]
        report = report_line(self.run_dir, "fedkd compare")
        return card("study", about, columns(groups), rows(groups), *notes, *lines, report)


def _numbers(run: "Run") -> dict[str, Any]:
    known = run.summary
    same = ("strategy", "seed", "rounds", "bytes_up", "bytes_down", "digest")
    scores = {f"score_{name}": known[f"score_{name}"]["last"] for name in BOTH}
    return {key: known[key] for key in same} | scores | {"seconds": known["seconds"]["total"]}


def _mean(group: "Group") -> dict[str, Any]:
    """Return the row of runs that differ in their seed alone."""
    row: dict[str, Any] = {"strategy": group.strategy, **group.values, "seeds": len(group.runs)}
    for name in BOTH:
        found = group.scored(name)
        row |= {f"score_{name}": found.mean, f"score_{name}_std": found.std}
    for way in ("bytes_up", "bytes_down"):
        row[way] = group.over_seeds(lambda run, way=way: run.summary[way]).mean  # type: ignore[misc]
    row["seconds"] = group.over_seeds(lambda run: run.summary["seconds"]["total"]).mean
    return row
