"""The page of the presets that are no pictures: tables and figures from the rows that were kept.

``python -m fedkd.experiments.reproduce.presets_page`` writes ``docs/presets.md`` and its figures,
from ``--rows``; it runs nothing.
"""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.filesize import decimal
from scipy.stats import ttest_1samp

from ...plugins.table import SEAMS
from ...report.drawing.style import GROUPS, canvas, legend_below, styled
from ...report.markdown import table
from .cells import Row, missing, saved
from .kept import plainly
from .pages import Page, Rows, write
from .presets import MIXED, ROWS, STUDIES, cells
from .presets_words import HEAD, SECTIONS, TAIL

PAGE, FIGURES = Path("docs/presets.md"), Path("experiments/figures")

PLACES = {"local": "local", "global": "overall"}
"""What the page calls a number, and its column."""

ALONE = "local"
LOOKS = {"local": ("o", GROUPS[0]), "global": ("s", GROUPS[1])}
"""Marker and colour."""

SCORES = {cls.score.metric: cls.score for cls in SEAMS["tasks"].shipped().values()}


def page(rows: list[Row]) -> str:
    """Return the page."""
    parts = [HEAD.format(progress=progress(rows))]
    for preset, section in SECTIONS.items():
        studies = studied(rows, preset)
        parts.append(section.head)
        for study, own in studies.items():
            parts += [f"**{study}**\n", table(_lines(own)), verdict(own)]
        if studies:
            parts.append(
                f"![Scores of {preset} by method](../experiments/figures/presets_{preset}.png)\n"
            )
        parts.append(section.tail)
    return "\n".join([*parts, TAIL])


def studied(rows: list[Row], preset: str) -> dict[str, list[Row]]:
    """Return the rows of each of a preset's studies that has some."""
    names = (name for name, one in STUDIES.items() if one.preset == preset)
    found = {name: [row for row in rows if row["study"] == name] for name in names}
    return {name: own for name, own in found.items() if own}


def progress(rows: list[Row], seeds: int = 3) -> str:
    """Return what is not run yet, "" when all is."""
    count = Counter(cell["study"] for cell in missing(cells(seeds, list(STUDIES)), rows))
    left = [f"{count[study]} of {study}" for study in STUDIES if count[study]]
    return f"\n**Not done yet:** runs left: {', '.join(left)}.\n" if left else ""


def spread(metric: str, values: list[float]) -> str:
    """Return mean and sample standard deviation over seeds.

    Examples
    --------
    >>> spread("accuracy", [0.5, 0.7]), spread("rmse", [640.0, 660.0]), spread("perplexity", [50.0])
    ('60.0 ± 14.1', '650 ± 14', '50.0')
    """
    shown = SCORES[metric].scale * np.array(values)
    digits = 0 if shown.mean() >= 200 else 1
    mean = f"{shown.mean():.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {shown.std(ddof=1):.{digits}f}"


def _groups(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return the rows of each kind of models and method, by seed."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["models"] == MIXED, row["seed"])):
        found[row["models"], row["method"]].append(row)
    return found


def _lines(rows: list[Row]) -> list[tuple[str, ...]]:
    metric = SCORES[rows[0]["metric"]]
    heads = (metric.title("local") + metric.axis, metric.title("global") + metric.axis)
    lines: list[tuple[str, ...]] = [("models", "method", *heads, "sent up", "CPU s", "seeds")]
    for (models, method), own in _groups(rows).items():
        numbers = (spread(metric.metric, [r[column] for r in own]) for column in PLACES.values())
        sent = decimal(round(np.mean([r["bytes_up"] for r in own])))
        seconds = f"{np.mean([r['cpu_seconds'] for r in own]):.0f}"
        lines.append((models, f"`{method}`", *numbers, sent, seconds, str(len(own))))
    if (MIXED, "fedavg") not in _groups(rows):
        lines.append((MIXED, "`fedavg`", *["averages one architecture"], *["-"] * 4))
    return lines


def verdict(rows: list[Row]) -> str:
    """Return which methods are better or worse than staying alone by more than seeds differ."""
    groups = _groups(rows)
    said = []
    for place, column in PLACES.items():
        found: dict[str, list[str]] = defaultdict(list)
        for (models, method), own in groups.items():
            alone = {row["seed"]: row[column] for row in groups.get((models, ALONE), [])}
            pairs = [row[column] - alone[row["seed"]] for row in own if row["seed"] in alone]
            if method != ALONE:
                found[compared(rows[0]["metric"], pairs)].append(f"`{method}` {models}")
        parts = [f"{word} {', '.join(found[word])}" for word in WORDS if word in found]
        said.append(f"- **{place}**, against `{ALONE}`: {'; '.join(parts) or 'not run yet'}.")
    return "\n".join([*said, ""])


BETTER, WORSE, NOTHING = "better", "worse", "no difference shown"
FEW = "too few seeds to say"
WORDS = (BETTER, WORSE, NOTHING, FEW)


def compared(metric: str, differences: list[float]) -> str:
    """Say whether differences, one a seed, are beside zero by Student's 95 % interval.

    Examples
    --------
    >>> compared("accuracy", [0.1, 0.11, 0.12]), compared("rmse", [10.0, 11.0, 12.0])
    ('better', 'worse')
    >>> compared("accuracy", [0.1, -0.1, 0.0]), compared("alma", [0.0, 0.0, 0.0])
    ('no difference shown', 'no difference shown')
    """
    if len(differences) < 3:
        return FEW
    if not np.ptp(differences):
        return NOTHING
    low, high = ttest_1samp(differences, 0).confidence_interval(0.95)
    if low <= 0 <= high:
        return NOTHING
    return BETTER if (low > 0) == SCORES[metric].more else WORSE


@styled
def figure(studies: dict[str, list[Row]]) -> Figure:
    """Draw the means over seeds of each study's methods, and a dot a seed."""
    height = 0.24 * max(len(_groups(own)) for own in studies.values()) + 0.7
    drawn, every = canvas(4.8, height * len(studies) + 0.4, rows=len(studies))
    for axes, (study, own) in zip(every, studies.items(), strict=True):
        _dots(axes, own)
        if len(studies) > 1:
            axes.set_title(study, fontsize=10)
    legend_below(drawn, every[0])
    return drawn


def _dots(axes: Axes, rows: list[Row]) -> None:
    metric, groups = SCORES[rows[0]["metric"]], _groups(rows)
    for place, column in PLACES.items():
        marker, colour = LOOKS[place]
        for height, own in enumerate(reversed(groups.values())):
            values = metric.scale * np.array([row[column] for row in own])
            axes.plot(values, [height] * len(own), marker, color=colour, markersize=2.5, alpha=0.5)
            name = "_" if height else place  # an underscore keeps the others out of the legend
            axes.plot(
                values.mean(), height, marker, color=colour, ms=6, fillstyle="none", label=name
            )
    names = [f"{method}, {models}" for models, method in reversed(groups)]
    axes.set_yticks(range(len(groups)), names)
    better = "more" if metric.more else "less"
    axes.set_xlabel(f"{metric.label or metric.metric.upper()}{metric.axis}, {better} is better")


@plainly
def command(
    *,
    rows: Rows = ROWS,
    out: Page = PAGE,
    pictures: Annotated[Path, typer.Option(help="Folder of the figures.")] = FIGURES,
) -> None:
    """Write the page and its figures."""
    kept = saved(rows)
    drawn = {f"presets_{preset}.png": own for preset in SECTIONS if (own := studied(kept, preset))}
    write(page(kept), PAGE, out, {ROWS: rows} | {FIGURES / name: pictures / name for name in drawn})
    for name, studies in drawn.items():
        figure(studies).savefig(pictures / name, dpi=150)


if __name__ == "__main__":
    typer.run(command)
