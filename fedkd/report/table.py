"""The cells of the comparison table, for the console and for the page."""

import math
from collections.abc import Sequence

from rich.filesize import decimal

from .cell import Cell
from .drawing.labels import label_area, last_imbalance, shown, uses_labels
from .reader import Run
from .statistics import Group

AREA = "area %"
"""Area under the curve of ALMA global against labels, over the labels it spans."""

WORST, ECE = "worst", "ECE"
"""Columns for where there is room: a terminal of eighty characters has none."""

BOTH = ("local", "global")


def headings(groups: Sequence[Group]) -> dict[str, str]:
    """Return the titles of the headline's columns, ``local`` and ``global``."""
    score = groups[0].score
    return {name: score.title(name) + score.unit for name in BOTH}


def columns(groups: Sequence[Group], wide: bool = False) -> list[str]:
    """Return the column titles; one seed everywhere is not worth a column."""
    seeds = ["seeds"] if any(len(group.runs) > 1 for group in groups) else []
    active = ["labels", AREA, *(["imbalance"] * wide)] if _active(groups) else []
    more = _wide(groups) if wide else []
    titles = [*seeds, *headings(groups).values(), *more, *active, "up", "down", "seconds"]
    titles += ["virtual s"] if _timed(groups) else []
    settings = [key.removeprefix("strategy.") for key in setting_keys(groups)]
    return ["strategy", *settings, *titles]


def _wide(groups: Sequence[Group]) -> list[str]:
    """Return the columns for where there is room."""
    worst = any(run.summary["worst_decile"]["local"] is not None for run in _runs(groups))
    return [WORST + groups[0].score.unit] * worst + [ECE] * _measured(groups)


def _runs(groups: Sequence[Group]) -> list[Run]:
    return [run for group in groups for run in group.runs]


def setting_keys(groups: Sequence[Group]) -> list[str]:
    """Return the settings in which the groups differ."""
    return list(dict.fromkeys(key for group in groups for key in group.settings))


def rows(groups: Sequence[Group], wide: bool = False) -> list[list[Cell]]:
    """Return a row a group, in the order given, with the cells of `columns`."""
    keys, seeds = setting_keys(groups), "seeds" in columns(groups)
    top = {name: _top(groups, name) for name in BOTH}
    result = []
    for group in groups:
        unfinished = any(not run.finished for run in group.runs)
        diverged = any(run.summary["diverged"] for run in group.runs)
        row = [Cell(group.strategy + "*" * unfinished + "!" * diverged)]
        row += [Cell(group.settings.get(key, "")) for key in keys]
        row += [Cell(str(len(group.runs)))] if seeds else []
        row += [_scored(group, name, top[name]) for name in BOTH]
        row += _details(group, _wide(groups)) if wide else []
        row += _labelled(group, wide) if _active(groups) else []
        for name in ("bytes_up", "bytes_down"):
            mean = group.over_seeds(lambda run, name=name: run.summary[name]).mean  # type: ignore[misc]
            row.append(Cell(decimal(round(mean))))
        seconds = group.over_seeds(lambda run: run.summary["seconds"]["total"]).mean
        row.append(Cell(f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"))
        if _timed(groups):
            virtual = group.over_seeds(lambda run: run.summary.get("virtual_seconds")).mean
            row.append(Cell(f"{virtual:.4g}" if math.isfinite(virtual) else "-"))
        result.append(row)
    return result


def _timed(groups: Sequence[Group]) -> bool:
    """Tell whether a run has a virtual clock."""
    return any("virtual_seconds" in run.summary for group in groups for run in group.runs)


def _measured(groups: Sequence[Group]) -> bool:
    """Tell whether a run knows more than means (those of earlier versions do not)."""
    return any(run.summary["ece"] is not None for group in groups for run in group.runs)


def _details(group: Group, wanted: Sequence[str]) -> list[Cell]:
    """Return the score of the clients that fare worst, and the calibration error."""
    worst = [
        group.score.text(group.over_seeds(lambda run, n=name: run.summary["worst_decile"][n]).mean)  # type: ignore[misc]
        for name in ("local", "global")
    ]
    error = group.over_seeds(lambda run: run.summary["ece"]).mean
    cells = {ECE: Cell(f"{error:.3f}" if math.isfinite(error) else "-")}
    return [cells.get(name, Cell(" / ".join(worst))) for name in wanted]


def _active(groups: Sequence[Group]) -> bool:
    return all(uses_labels(run) for group in groups for run in group.runs)


def _labelled(group: Group, wide: bool) -> list[Cell]:
    """Return the labels used, the area under the curve of accuracy, and how even they are."""
    labels = group.over_seeds(lambda run: float(run.column("labels")[-1])).mean
    area = group.over_seeds(label_area)
    plus_minus = f" ± {percent(area.std)}" if math.isfinite(area.std) else ""
    cells = [Cell(f"{labels:.0f}"), Cell(percent(area.mean) + plus_minus)]
    return [*cells, Cell(shown(last_imbalance(group.runs)))] if wide else cells


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction in percent, without the sign.

    Examples
    --------
    >>> percent(0.9123), percent(None)
    ('91.2', '-')
    """
    if value is None or not math.isfinite(value):
        return "-"
    return f"{100 * value:.{digits}f}"


def _top(groups: Sequence[Group], name: str) -> str:
    """Return the best mean as the table shows it: what looks equal ties."""
    score = groups[0].score
    means = [group.scored(name).mean for group in groups]
    known = [mean for mean in means if math.isfinite(mean)]
    return score.text(score.best(known)) if known else ""


def _scored(group: Group, name: str, top: str) -> Cell:
    mean, text = group.scored(name).mean, group.score.text
    if not math.isfinite(mean):
        return Cell("-")
    spread = group.spread(name)
    plus_minus = f" ± {text(spread)}" if math.isfinite(spread) else ""
    return Cell(text(mean) + plus_minus, text(group.scored(name, "best").mean), text(mean) == top)
