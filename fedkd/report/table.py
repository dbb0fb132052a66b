"""The comparison table, for the console and for the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from .labels import differences, label_area, last_imbalance, shown, uses_labels
from .reader import Run
from .statistics import Group

AREA = "area %"
"""Area under the curve of ALMA global against labels, over the labels it spans."""

WORST, ECE = "worst", "ECE"
"""Columns for where there is room: a terminal of eighty characters has none."""

ROOM = 110
"""Characters of a console from which there is."""

BOTH = ("local", "global")


@dataclass(frozen=True)
class Cell:
    """A cell's text, what stands dimmed beside it, and whether it is the best of its column."""

    text: str
    note: str = ""
    best: bool = False


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


def meaning(groups: Sequence[Group], wide: bool = False) -> list[str]:
    """Return what the numbers mean."""
    counts = {len(group.runs) > 1 for group in groups}
    over = {
        (True,): "std over seeds (sample)",
        (False,): "std over clients",
        (False, True): "std over seeds where there are several, else over clients",
    }[tuple(sorted(counts))]
    score, wides = groups[0].score, _wide(groups) if wide else []
    label = score.label or score.metric.upper()
    return [
        f"{label}: mean {score.metric} of the clients' own models on the official test split after "
        f"the last round; local = {local_is([run for group in groups for run in group.runs])}, "
        "global = on the whole split.",
        f"± {over}. Dimmed: best round, for comparison only. Bold: {_BEST[score.more]}. "
        "Up and down: payload of the whole run" + (", mean over seeds." if True in counts else "."),
        *subsets(groups),
        *([_WORST.format(score.metric)] * any(name.startswith(WORST) for name in wides)),
        *([_ECE] * (ECE in wides)),
        *(["Area: mean height of the curve of ALMA global against labels."] * _active(groups)),
        *([_IMBALANCE] * (wide and _active(groups))),
    ]


LOCAL = {
    "official": "under each client's own label distribution",
    "local": "on each client's own test samples",
}
"""What local accuracy is, by the summary's ``tested``."""


def local_is(runs: Sequence[Run]) -> str:
    """Return what local accuracy is in these runs."""
    return " or ".join(text for kind, text in LOCAL.items() if kind in {*map(_tested, runs)})


def _tested(run: Run) -> str:
    return str(run.summary["tested"])


def subsets(groups: Sequence[Group]) -> list[str]:
    """Return on how many samples rounds before the last were measured, where not on all."""
    sizes = {
        int(size)
        for group in groups
        for run in group.runs
        for size, error in zip(run.column("evaluated"), run.column("alma_global_se"), strict=True)
        if math.isfinite(error) or size < (run.summary["evaluated"]["last"] or 0)
    }
    if not sizes:
        return []
    count = " or ".join(f"{size:,}" for size in sorted(sizes))
    return [
        f"Rounds before the last were measured on {count} samples of the test split, the same of "
        "each class: a best round among them is a little too good, as the luckiest."
    ]


_IMBALANCE = (
    "Imbalance: labels of the most frequent class to those of the rarest, all clients together, "
    "after the last query; ∞ where a class has none."
)
_WORST = "Worst: mean {} of the worst tenth of the clients, local / global."
_ECE = "ECE: how far the models' confidence is from their accuracy, mean over clients, 0 is best."
_BEST = {True: "highest", False: "lowest, which is best"}


def warnings(groups: Sequence[Group]) -> list[str]:
    """Return what is not as it should be: runs unfinished, replies rejected, models diverged."""
    lines = []
    for group in groups:
        for run in group.runs:
            if not run.finished:
                done = f"{run.rounds.num_rows} of {run.config['rounds']} rounds"
                lines.append(f"* unfinished, {done}: {run.path}")
            if run.summary.get("rejected"):
                lines.append(f"{run.summary['rejected']} replies rejected: {run.path}")
            if run.summary["diverged"]:
                share = f"{run.summary['diverged']} of {run.summary['clients']} clients"
                lines.append(f"! diverged, {share} (models not finite): {run.path}")
    return lines


def print_table(groups: Sequence[Group], console: Console) -> None:
    """Print the comparison table and its footnotes."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    left = 1 + len(setting_keys(groups))
    wide = not console.is_terminal or console.width >= ROOM
    for index, title in enumerate(columns(groups, wide)):
        right = index >= left
        heading = Text(title)
        if title in headings(groups).values():
            heading.append(" best", style="dim")
        table.add_column(heading, justify="right" if right else "left", no_wrap=right, min_width=8)
    for row in rows(groups, wide):
        table.add_row(*[_styled(cell) for cell in row])
    width = console.width
    if not console.is_terminal:  # a file's table may be as wide as it needs; a terminal's is folded
        wanted = Measurement.get(console, console.options.update(width=500), table).maximum
        console.width = max(width, wanted)
    console.print(table, crop=False)
    console.width = width
    for line in meaning(groups, wide) + differences(groups) + warnings(groups):
        console.print(Text(line, style="dim"))


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


def _styled(cell: Cell) -> Text:
    text = Text(cell.text, style="bold" if cell.best else "")
    if cell.note:
        text.append(f"  {cell.note}", style="not bold dim")
    return text
