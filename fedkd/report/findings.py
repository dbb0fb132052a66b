"""What privacy attacks found out, read from ``RUN_DIR/attacks``, for tables and reports."""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from .drawing.style import WIDTH, canvas, legend_below, look, short, styled
from .reader import Run
from .statistics import Group, estimate

HIDDEN = ("_low", "_high", "_std")
"""Endings of the metrics that are shown with another."""
LEAST = 1e-3
"""Where the axes of a ROC curve begin."""


@dataclass(frozen=True)
class Row:
    """A line of the table: a variant of an attack on a group of runs."""

    label: str
    variant: str
    cells: dict[str, str]


@dataclass(frozen=True)
class Photograph:
    """A PNG as a data URI, and the words under it."""

    uri: str
    caption: str


@dataclass(frozen=True)
class Section:
    """What a report says of one attack."""

    name: str
    access: str
    rows: list[Row]
    notes: list[str]
    curves: dict[str, dict[str, list[float]]]
    photograph: Photograph | None

    @property
    def columns(self) -> list[str]:
        """The metrics that some row has."""
        return list(dict.fromkeys(key for row in self.rows for key in row.cells))


def sections(groups: Sequence[Group], single: Run | None) -> list[Section]:
    """Return a section for every attack; curves and pictures of a `single` run only."""
    runs = [run for group in groups for run in group.runs]
    made = []
    for name in sorted({name for run in runs for name in names(run)}):
        known = [finding for run in runs if (finding := found(run, name))]
        if known:
            notes = list(dict.fromkeys(note for one in known for note in one["notes"]))
            curves = known[0]["curves"] if single else {}
            picture = photograph(single, name) if single else None
            shown = rows(groups, name)
            made.append(Section(name, known[0]["access"], shown, notes, curves, picture))
    return made


def names(run: Run) -> list[str]:
    """Return the attacks that a run was subjected to."""
    return sorted(path.stem for path in (run.path / "attacks").glob("*.json"))


def found(run: Run, name: str) -> dict[str, Any] | None:
    """Return what an attack wrote; None if it did not, or it cannot be read."""
    try:
        content = json.loads((run.path / "attacks" / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("schema") == 1 else None


def rows(groups: Sequence[Group], name: str) -> list[Row]:
    """Return the table of one attack: a row a group and variant, averaged over seeds."""
    table = []
    for group in groups:
        findings = [one["results"] for run in group.runs if (one := found(run, name))]
        for variant in dict.fromkeys(v for results in findings for v in results):
            values = [results[variant] for results in findings if variant in results]
            table.append(Row(group.label, variant, _cells(values)))
    return table


def attack_rows(section: Section, several: bool) -> list[list[str]]:
    """Return the cells of a section's table, with the run's label where there are several."""
    return [
        [*([row.label] * several), row.variant, *(row.cells.get(c, "") for c in section.columns)]
        for row in section.rows
    ]


def _cells(values: list[dict[str, float | None]]) -> dict[str, str]:
    """Return a cell a metric: with its interval for one seed, mean ± std for several."""
    cells = {}
    for metric in dict.fromkeys(name for one in values for name in one):
        if metric.endswith(HIDDEN):
            continue
        mean = estimate(one.get(metric) for one in values)
        cells[metric] = _text(mean.mean)
        low, high = (values[0].get(f"{metric}_{end}") for end in ("low", "high"))
        std = values[0].get(f"{metric}_std") if mean.n == 1 else mean.std
        if mean.n == 1 and low is not None and high is not None:
            cells[metric] += f" ({low:.3f}-{high:.3f})"
        elif std is not None and math.isfinite(std) and mean.mean != int(mean.mean):
            cells[metric] += f" ± {std:.3f}"
    return cells


def _text(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value == int(value) and abs(value) > 1 else f"{value:.3f}"


@styled
def roc_figure(curves: dict[str, dict[str, list[float]]]) -> Figure:
    """Draw ROC curves on logarithmic axes, where a few certain finds are to be seen."""
    figure, (axes,) = canvas(WIDTH, 4.2)
    axes.plot([LEAST, 1], [LEAST, 1], color="0.6", lw=0.8, ls=":")
    for index, (name, curve) in enumerate(curves.items()):
        colour, line = look(index)
        axes.step(
            curve["fpr"], curve["tpr"], where="post", label=short(name), color=colour, ls=line
        )
    axes.set(xscale="log", yscale="log", xlim=(LEAST, 1), ylim=(LEAST, 1.05))
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    legend_below(figure, axes)
    return figure


def photograph(run: Run, name: str) -> Photograph | None:
    """Return an attack's picture, if it left one."""
    path, finding = run.path / "attacks" / f"{name}.png", found(run, name)
    if finding is None or not path.is_file():
        return None
    data = base64.b64encode(path.read_bytes()).decode()
    return Photograph(f"data:image/png;base64,{data}", str(finding["caption"]))
