"""What a comparison found: tables of numbers, which the writers of all formats read."""

from dataclasses import dataclass, field

import pandas as pd

from .metrics import Metric
from .reader import Run
from .significance import Ranks


@dataclass(frozen=True)
class Compared:
    """What a comparison of runs found.

    Attributes
    ----------
    table : pandas.DataFrame
        A row an arm and setting: ``arm``, ``setting``, ``seeds``, ``mean``, ``std`` (sample),
        ``low`` and ``high`` (Student's 95 % interval over seeds), ``best``; with a baseline what
        `fedkd.report.significance.Difference` has, and ``p_holm``. Nothing is scaled.
    values : pandas.DataFrame
        A row a run that counts: ``arm``, ``setting``, ``seed``, ``value``, ``run``.
    metric : Metric
        What is compared.
    by : str
        The keys that make an arm.
    baseline : str or None
        The arm that the others are compared to.
    ranks : Ranks or None
        Over settings, where there are several.
    notes : list of str
        What the numbers mean, and what is not as it should be.
    runs : list of Run
        All that were found, also those that are left out.
    """

    table: pd.DataFrame
    values: pd.DataFrame
    metric: Metric
    by: str
    baseline: str | None
    ranks: Ranks | None
    notes: list[str]
    runs: list[Run] = field(repr=False)
