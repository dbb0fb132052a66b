"""A comparison in a file, one function a format: what a file's ending chooses."""

import io
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import escape

from ..errors import ConfigError
from .cells import cells, plus_minus
from .compared import Compared
from .drawing.critical import critical_figure
from .markdown import table
from .page import html, written
from .significance import LEVEL


def markdown(found: Compared) -> str:
    """Return a table in GitHub's Markdown, and the notes below."""
    heads, rows = cells(found)
    body = [[f"**{cell.text}**" if cell.best else cell.text for cell in row] for row in rows]
    return "\n".join([table([heads, *body]), *(f"- {note}" for note in found.notes), ""])


TEX = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "\n": " "}
)


def latex(found: Compared) -> str:
    """Return a ``tabular`` for the package booktabs: a row an arm, a column a setting.

    The best is bold; an asterisk is a difference to the baseline with a corrected p below 0.05.
    """
    table, ranks = found.table, found.ranks
    settings = list(table["setting"].unique())
    cell = {(row.arm, row.setting): _tex_cell(found, row) for row in table.itertuples()}
    heads = [found.by, *(settings if len(settings) > 1 else [found.metric.title])]
    heads += ["rank"] * (ranks is not None)
    lines = [f"% {note}" for note in ["\\usepackage{booktabs}", *found.notes]]
    lines += [f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}", "\\toprule"]
    lines += [" & ".join(head.translate(TEX) for head in heads) + " \\\\", "\\midrule"]
    for arm in table["arm"].unique():
        row = [arm.translate(TEX), *(cell.get((arm, setting), "--") for setting in settings)]
        if ranks is not None:
            row.append(f"{ranks.average[arm]:.2f}")
        lines.append(" & ".join(row) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _tex_cell(found: Compared, row: Any) -> str:
    shown = plus_minus(found, row, r"\pm")
    if not math.isfinite(row.mean):
        return "--"
    bold = f"\\mathbf{{{shown}}}" if row.best else shown
    sure = getattr(row, "p_holm", math.nan) < 1 - LEVEL
    return f"${bold}{'^{*}' * sure}$"


def comma_separated(found: Compared) -> str:
    """Return the table with all digits, unscaled."""
    return found.table.to_csv(index=False)


def as_json(found: Compared) -> str:
    """Return all there is, unscaled; null for what is not known."""
    ranks = found.ranks
    about = {
        "metric": found.metric.name,
        "more_is_better": found.metric.more,
        "by": found.by,
        "baseline": found.baseline,
        "table": _records(found.table),
        "values": _records(found.values),
        "ranks": None if ranks is None else {**vars(ranks), "average": ranks.average.to_dict()},
        "notes": found.notes,
    }
    return json.dumps(_known(about), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _records(table: pd.DataFrame) -> Any:
    return table.to_dict("records")


def _known(value: Any) -> Any:
    """Return a nested value with None for what is not a number."""
    if isinstance(value, dict):
        return {key: _known(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def html_table(found: Compared) -> str:
    """Return the table and its notes for a notebook."""
    heads, rows = cells(found)
    body = [
        [f"<b>{escape(cell.text)}</b>" if cell.best else escape(cell.text) for cell in row]
        for row in rows
    ]
    table = pd.DataFrame(body, columns=[escape(head) for head in heads])
    notes = "".join(f"<p>{escape(note)}</p>" for note in found.notes)
    return table.to_html(index=False, escape=False, border=0) + notes


def page(found: Compared) -> str:
    """Return the report of the runs, with the comparison."""
    return html(found.runs, found)


def picture(found: Compared, kind: str) -> bytes:
    """Return the critical-difference diagram."""
    if found.ranks is None:
        problem = "a picture shows ranks over settings, and there is one setting: add --over KEY"
        raise ConfigError("out", f".{kind}", problem)
    file = io.BytesIO()
    critical_figure(found.ranks).savefig(file, format=kind, dpi=200)
    return file.getvalue()


FORMATS: dict[str, Callable[[Compared], str | bytes]] = {
    ".md": markdown,
    ".tex": latex,
    ".csv": comma_separated,
    ".json": as_json,
    ".html": page,
    **{f".{kind}": partial(picture, kind=kind) for kind in ("svg", "pdf", "png")},
}
"""What makes a file of each ending."""


def save(found: Compared, out: str | Path) -> Path:
    """Write a comparison as the ending of `out` says."""
    ending = known_ending(out)
    return written(out, FORMATS[ending](found))


def known_ending(out: str | Path) -> str:
    """Return the ending of a path; fail if no format has it."""
    ending = Path(out).suffix.lower()
    if ending not in FORMATS:
        raise ConfigError("out", out, f"unknown ending {ending!r}", FORMATS)
    return ending
