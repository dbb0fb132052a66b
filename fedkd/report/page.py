"""The self-contained HTML page about one run or several."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from ..config.saved import readable
from ..config.yamls import to_yaml
from ..errors import ConfigError
from . import cycles, lost
from .cards import Picture, balanced, image
from .cells import cells
from .command import command
from .compared import Compared
from .drawing import (
    dropped,
    estimated,
    evolution,
    figures,
    frontier_figure,
    gains,
    network,
    phase_figure,
)
from .drawing.critical import critical_figure
from .drawing.drawn import Drawn
from .drawing.labels import (
    differences,
    imbalance_curve,
    imbalance_figure,
    label_curves,
    queried,
    queried_figure,
    uses_labels,
)
from .drawing.style import worded
from .drawing.tradeoff import MEANING, differ_in_privacy, table, tradeoff_figure
from .findings import Section, attack_rows, roc_figure, sections
from .footnotes import local_is, meaning, subsets, warnings
from .glossary import glossary
from .reader import Run, load_runs
from .statistics import Group, group_runs
from .summary import configuration, costs, headline, subtitle, title, versions
from .table import columns, headings, rows, setting_keys

LEARNED = network, evolution, estimated
"""What else there is about who learned from whom, beside the weights and their number."""

MOST_MAPS = 6
"""Groups whose weights are shown: beyond, the page would be heat maps."""

SEEN = 0.2
"""Weights that are all less are hardly seen on a scale from 0 to 1."""


def render(
    run_dirs: str | Path | Run | Sequence[str | Path | Run], out: str | Path | None = None
) -> Path:
    """Write the report of one run or several as one HTML file that needs no other.

    Parameters
    ----------
    run_dirs : run directory, Run, or a sequence of them
        What to report on. Runs that differ only in their seed are averaged.
    out : path, optional
        Where to write; by default ``report.html`` in the run directory, or in the runs' closest
        common folder.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigError
        If a run cannot be read, or the report cannot be written.
    """
    runs = load_runs(run_dirs)
    path = Path(out) if out is not None else common(runs) / "report.html"
    if path.suffix.lower() != ".html":
        raise ConfigError("out", path, "cannot be written: a report is HTML, and ends in .html")
    return written(path, html(runs))


def common(runs: Sequence[Run]) -> Path:
    """Return the closest folder that all runs are in, or the run where there is one."""
    return Path(os.path.commonpath([run.path.resolve() for run in runs]))


def html(runs: list[Run], comparison: Compared | None = None) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fedkd.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["balanced"] = balanced
    environment.globals |= {"glossary": glossary, "attack_rows": attack_rows}
    with readable("run", common(runs), "cannot be shown"):
        content = _content(runs) | {"compared": _compared(comparison) if comparison else {}}
        return environment.get_template("page.html.j2").render(content)


def written(out: str | Path, content: str | bytes) -> Path:
    """Write a file, with the folders it needs; return its path."""
    path = Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise ConfigError("out", path, f"cannot be written: {error.strerror}") from error
    return path


def _compared(found: Compared) -> dict[str, Any]:
    """Return table, notes and pictures of a comparison with statistics."""
    heads, rows = cells(found)
    told = "Mean ranks over settings; a bar joins what is not told apart."
    pictures = [_picture(critical_figure(found.ranks), told)] if found.ranks else []
    table = {"heads": heads, "rows": rows, "left": heads.index("seeds")}
    return {**table, "notes": found.notes, "pictures": pictures}


def _content(runs: list[Run]) -> dict[str, Any]:
    groups = group_runs(runs)
    # A group drops second runs of one seed; the figures must not count them either.
    runs = [run for group in groups for run in group.runs]
    single = runs[0] if len(runs) == 1 else None
    return {
        "title": title(groups),
        "subtitle": subtitle(groups),
        "headline": headline(groups),
        "columns": columns(groups, wide=True),
        "left": 1 + len(setting_keys(groups)),
        "alma": list(headings(groups).values()),
        "score": groups[0].score,
        "rows": rows(groups, wide=True),
        "notes": _notes(groups, single),
        "phases": _pictures(phase_figure.drawn(groups)),
        "curves": _curves(runs, groups) + _labels(runs),
        "learned": _learned(runs, groups)
        + _pictures(chain.from_iterable(each.drawn(groups) for each in LEARNED)),
        "partition": _partition(runs),
        "clients": _distribution(runs)
        + _pictures(chain(gains.drawn(groups), dropped.drawn(single) if single else ())),
        "dropped": _headed(dropped.HEADINGS, dropped.table(dropped.events(single)))
        if single
        else [],
        "lost": [] if single else _headed(lost.HEADINGS, lost.lost(groups)),
        "cycles": [cycles.HEADINGS, *cycles.cells(single)]
        if single and uses_labels(single)
        else [],
        "attacks": _attacks(groups, single),
        "protection": _protection(runs, groups),
        "cost_pictures": _cost_pictures(runs, single) + _pictures(frontier_figure.drawn(groups)),
        "cost_rows": costs(single) if single else [],
        "configuration": configuration(groups),
        "config_yaml": to_yaml(single.config) if single else "",
        "commands": [command(group) for group in groups],
        "versions": versions(runs),
        "runs": runs,
        "several": single is None,
    }


def _notes(groups: list[Group], single: Run | None) -> list[str]:
    """Return what stands under the table, or above a single run's curves."""
    words = subsets(groups) if single else meaning(groups, wide=True)
    return words + differences(groups) + warnings(groups)


def _picture(figure: Figure, caption: str) -> Picture:
    return Picture(image(figure, caption), caption)


def _pictures(drawn: Iterable[Drawn]) -> list[Picture]:
    return [_picture(worded(each.figure, each.told), each.caption) for each in drawn]


def _curves(runs: list[Run], groups: list[Group]) -> list[Picture]:
    over = "seeds" if any(len(group.runs) > 1 for group in groups) else "clients"
    spread = f"{figures.spread_drawn(len(groups))}: ± one std over {over}."
    texts = {
        "local": f"{(where := local_is(runs))[0].upper()}{where[1:]}.",
        "global": "On the whole official test split.",
    }
    subset = " Hollow: estimated on fewer test samples; bar: ± at most one standard error."
    column = groups[0].score.column("global")
    hollow = any(np.isfinite(group.sampling_error(column)).any() for group in groups)
    more = subset * hollow
    pictures = [
        _picture(figures.learning_curves(runs, [metric]), f"{text} {spread}{more}")
        for metric, text in texts.items()
    ]
    timed = [run for run in runs if "virtual_seconds" in run.summary]
    if timed:
        caption = "Against the time that it would take on the clients' devices (system)."
        picture = figures.virtual_figure(timed)
        pictures.append(_picture(picture, f"{caption} {spread}{more}"))
    return pictures


def _labels(runs: list[Run]) -> list[Picture]:
    """Return the curves of active learning, if that is what all runs are."""
    if not all(uses_labels(run) for run in runs):
        return []
    band = " Band: ± one std over seeds." if len({run.config["seed"] for run in runs}) > 1 else ""
    pictures = [_picture(label_curves(runs), f"Accuracy against labels, a point a cycle.{band}")]
    if all(len(imbalance_curve(run)[0]) for run in runs):
        caption = f"How uneven the labels are, all clients together, a point a cycle.{band}"
        pictures.append(_picture(imbalance_figure(runs), caption))
    if any(queried(run).any() for run in runs):
        caption = "Classes of the samples that clients had labelled, all clients and cycles."
        pictures.append(_picture(queried_figure(runs), caption))
    return pictures


def _learned(runs: list[Run], groups: list[Group]) -> list[Picture]:
    pictures = []
    for group in groups[:MOST_MAPS]:
        run = group.runs[0]
        if (weights := run.weights()) is not None:
            which = f"{group.label}, seed {group.seeds[0]}" if len(groups) > 1 else "Mixing weights"
            text = "last round. Row: the learner; column: whose knowledge it received."
            caption = f"{which}, {text} The scale is 0 to 1 in any map."
            small = image(figures.weights_figure(run, log=True), f"{caption} Logarithmic.")
            made = _picture(figures.weights_figure(run), caption)
            dark = bool(weights[1].max() < SEEN)
            pictures.append(replace(made, more=small, opened=dark))
    if any(np.isfinite(run.column("effective_neighbours")).any() for run in runs):
        caption = (
            "To how many equally weighted sources a client's teacher amounts, mean of clients."
        )
        if any(len(group.runs) > 1 for group in groups):
            caption += f" {figures.spread_drawn(len(groups))}: ± one std over seeds."
        pictures.append(_picture(figures.neighbours_figure(runs), caption))
    return pictures


def _partition(runs: list[Run]) -> list[Picture]:
    """Return the first run's partition: what the others share of it, the settings say."""
    run = next((run for run in runs if run.histogram is not None), None)
    if run is None or run.histogram is None:
        return []
    which = f" ({run.path.name})" if len(runs) > 1 else ""
    about = run.histogram, run.class_names
    figure = figures.partition_figure(*about, client_names=run.client_names)
    what = "class" if run.summary["task"] == "classification" else "class, or bin of the target"
    return [_picture(figure, f"Samples of each {what}{which}.")]


def _headed(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return a table's headings and rows; nothing where there are no rows."""
    return [heads, *rows] if rows else []


def _attacks(groups: list[Group], single: Run | None) -> list[tuple[Section, list[Picture]]]:
    """Return a section for every attack that some run was subjected to, with its curves."""
    caption = "ROC curves on logarithmic axes; dotted: chance."
    return [
        (each, [_picture(roc_figure(each.curves), caption)] if each.curves else [])
        for each in sections(groups, single)
    ]


def _protection(runs: list[Run], groups: list[Group]) -> dict[str, Any]:
    """Return table and picture of what protection costs and hides, if that is what differs."""
    if not differ_in_privacy(groups):
        return {}
    band = " Band: ± one std over seeds." if any(len(group.runs) > 1 for group in groups) else ""
    picture = _picture(tradeoff_figure(runs), f"Against epsilon.{band}")
    return {"table": table(groups), "meaning": MEANING, "pictures": [picture]}


def _distribution(runs: list[Run]) -> list[Picture]:
    seeds = "all seeds" if len({run.config["seed"] for run in runs}) > 1 else "last round"
    caption = f"Each client's model, {seeds}. The box spans the quartiles, its bar is the median."
    return [_picture(figures.client_distribution(runs), caption)]


def _cost_pictures(runs: list[Run], single: Run | None) -> list[Picture]:
    pictures = [_picture(figures.time_figure(runs), "Wall-clock time by phase.")]
    if single is None:
        caption = "Serialised payload exchanged, from the clients (up) and to them (down)."
        pictures.append(_picture(figures.traffic_figure(runs), caption))
    return pictures
