"""What a run is measured by, for whoever reads or shows it. Needs no torch: reports use it."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Score:
    """What a task is measured by, and how that is shown.

    Parameters
    ----------
    metric : str
        Its name, such as ``rmse``.
    more : bool
        Whether more is better.
    prefix : str
        What its columns in ``rounds.parquet`` begin with.
    label : str
        What tables and figures call it.
    percent : bool
        Whether it is shown in percent.

    Examples
    --------
    >>> ALMA.column("local"), ALMA.title("local"), ALMA.text(0.9137), ALMA.best([0.2, 0.4])
    ('alma_local', 'ALMA local', '91.4', 0.4)
    >>> rmse = Score("rmse", more=False)
    >>> rmse.column("local"), rmse.title("local"), rmse.text(648.21), rmse.best([3.0, 2.0])
    ('score_local', 'RMSE local', '648.2', 2.0)
    """

    metric: str
    more: bool = True
    prefix: str = "score"
    label: str = ""
    percent: bool = False

    def column(self, name: str) -> str:
        """Return the column of ``local``, ``global`` or another mean over clients."""
        return f"{self.prefix}_{name}"

    def title(self, name: str) -> str:
        """Return what it is called, such as ``ALMA local``."""
        return f"{self.label or self.metric.upper()} {name}"

    @property
    def scale(self) -> int:
        """What values are multiplied by where they are shown."""
        return 100 if self.percent else 1

    @property
    def unit(self) -> str:
        """What follows a value, with a space before it; empty without a unit."""
        return " %" if self.percent else ""

    @property
    def axis(self) -> str:
        """What follows a title on an axis."""
        return " (%)" if self.percent else ""

    def text(self, value: float) -> str:
        """Return a value as it is shown, without its unit; ``-`` for none."""
        if not math.isfinite(value):
            return "-"
        shown = self.scale * value
        return f"{shown:.1f}" if self.percent or 100 <= abs(shown) < 1e6 else f"{shown:.4g}"

    def plain(self, value: float | None) -> str:
        """Return a value in a line of progress: a share, or as `text`; ``-`` for none."""
        if value is None:
            return "-"
        return f"{value:.3f}" if self.percent else self.text(value)

    def best(self, values: Sequence[float]) -> float:
        """Return the best of some values."""
        return max(values) if self.more else min(values)

    def about(self) -> dict[str, Any]:
        """Return what `read` takes, JSON-ready."""
        return vars(self).copy()

    @classmethod
    def read(cls, about: Mapping[str, Any] | None) -> "Score":
        """Return what a run wrote down; ALMA where it wrote nothing, as earlier versions did.

        Raises
        ------
        TypeError, ValueError
            If it is no such thing.
        """
        if about is None:
            return ALMA
        kinds = {"metric": str, "more": bool, "prefix": str, "label": str, "percent": bool}
        if not all(isinstance(about[name], kind) for name, kind in kinds.items()):
            raise TypeError("score is of another kind")
        return cls(**{name: about[name] for name in kinds})


def saved_score(run_dir: Path) -> Score:
    """Return what a run's task is measured by, as its spec says; earlier versions had ALMA only."""
    spec = run_dir / "spec.json"
    return Score.read(json.loads(spec.read_text()).get("score") if spec.is_file() else None)


ALMA = Score("accuracy", prefix="alma", label="ALMA", percent=True)
"""Average local model accuracy."""

DIVERGED = "diverged"
"""The metric by which a client tells that its model has diverged."""

NAMED = 5
"""Clients that are named; the others are counted."""


def spoken(clients: Collection[int]) -> str:
    """Return who has diverged, in one line.

    Examples
    --------
    >>> spoken([0, 3])
    'diverged clients 0, 3: models or predictions are not finite; try a smaller fit.lr or distil.lr'
    """
    named = ", ".join(map(str, sorted(clients)[:NAMED]))
    more = f" and {len(clients) - NAMED} more" if len(clients) > NAMED else ""
    problem = "models or predictions are not finite; try a smaller fit.lr or distil.lr"
    return f"diverged client{'s' * (len(clients) > 1)} {named}{more}: {problem}"
