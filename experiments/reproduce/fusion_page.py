"""The page of all methods under the same conditions, from the rows that were kept.

``python -m fedkd.experiments.reproduce.fusion_page`` writes its part of ``docs/results.md``, from
``--rows``; it runs nothing.
"""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import typer
from rich.filesize import decimal

from ...plugins.table import SEAMS
from ...report.markdown import table
from ...strategies.traits import traits
from .cells import saved
from .fusion_findings import Entry, centre, entries, sentences, told
from .fusion_plan import ALPHAS, SEEDS, Done, score
from .fusion_settings import LABELLED, NOTES, RATES, left_out, method, names, setting
from .fusion_table import ROWS
from .fusion_words import HEAD, TAIL
from .kept import plainly
from .pages import Page, Rows

PAGE = Path("docs/results.md")

BEGIN, END = "<!-- made by fedkd.experiments.reproduce.fusion_page -->", "<!-- until here -->"

PLACES = ("local", "global", "mean")

COLUMNS = (
    *("", "method", *PLACES, *(f"{place}, tuned" for place in PLACES)),
    *("tuned with", "seeds", "payload", "CPU s"),
)


def section(done: Done) -> str:
    """Return the page's part."""
    by_alpha = {alpha: entries(done, alpha) for alpha in ALPHAS}
    noted = notes(by_alpha)
    parts = [
        HEAD,
        progress(by_alpha),
        "\n".join(f"- {said}" for said in sentences(by_alpha)) + "\n",
    ]
    for alpha, found in by_alpha.items():
        rows = [_cells(rank, one, noted) for rank, one in enumerate(found, start=1)]
        shown = table([COLUMNS, *rows]) if rows else "Not run yet.\n"
        parts.append(f"## Dirichlet({alpha:g})\n\n{shown}")
    parts += ["\n".join(f"{n}. {note}" for n, note in enumerate(noted.values(), 1)) + "\n"]
    parts.append(TAIL.format(left=_left_out(), rates=_rates()))
    return "\n".join(parts)


def _cells(rank: int, one: Entry, noted: dict[str, str]) -> tuple[str, ...]:
    numbers = []
    for runs in (one.plain, one.tuned):
        places = [[row[place] for row in runs] for place in ("local", "overall")]
        numbers += [f"{centre(values):.1f}" if values else "-" for values in places]
        numbers.append(told([score(row) for row in runs]))
    mark = f" <sup>{list(noted).index(one.name) + 1}</sup>" if one.name in noted else ""
    base = setting(one.name).split()
    more = [f"`{part}`" for part in (one.chosen or "").split() if part not in (*base, "-")]
    chosen = "-" if one.chosen is None else " ".join(more) or "the defaults"
    payload = decimal(round(np.mean([row["bytes"] for row in one.plain]))).replace(" ", "&nbsp;")
    seconds = f"{np.mean([row['cpu_seconds'] for row in one.plain + one.tuned]):.1f}"
    seeds = f"{len(one.plain)}, {len(one.tuned)}"
    return str(rank), f"`{one.name}`{mark}", *numbers, chosen, seeds, payload, seconds


def notes(by_alpha: dict[float, list[Entry]]) -> dict[str, str]:
    """Return the footnotes of the rows that are there."""
    shown = sorted({one.name for found in by_alpha.values() for one in found})
    labelled = {
        name: LABELLED
        for name in shown
        if traits(SEAMS["strategies"].resolve(method(name))).transfer == "labelled"
    }
    return {name: note for name in shown if (note := NOTES.get(name) or labelled.get(name))}


def progress(by_alpha: dict[float, list[Entry]]) -> str:
    """Return what is not run yet, "" when all is."""
    found = [one for every in by_alpha.values() for one in every]
    plain = sum(len(one.plain) == SEEDS for one in found)
    tuned = sum(len(one.tuned) == SEEDS for one in found)
    every = len(ALPHAS) * len(names())
    if tuned == every:
        return ""
    return (
        f"**Not done yet.** Of {every} rows {plain} have all seeds as the method comes, and "
        f"{tuned} tuned; *seeds* says how many there are of both, a dash is what was not run.\n"
    )


def _rates() -> str:
    fit, distil = (", ".join(map(str, sorted(RATES[key]))) for key in ("fit.lr", "distil.lr"))
    return f"`fit.lr` {fit}; where clients learn from a teacher `distil.lr` {distil}"


def _left_out() -> str:
    """Return which methods are not in the table, and why."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, cls in SEAMS["strategies"].shipped().items():
        if why := left_out(cls):
            reasons[why].append(f"`{name}`")
    return "; ".join(f"{', '.join(them)} ({why})" for why, them in reasons.items()) + "."


def placed(text: str, made: str) -> str:
    r"""Return a page with what was made between its marks.

    Examples
    --------
    >>> placed(f"a\n{BEGIN}\nold\n{END}\nb", "new").split("\n")[1:-1]
    ['<!-- made by fedkd.experiments.reproduce.fusion_page -->', 'new', '<!-- until here -->']
    """
    marks = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    return re.sub(marks, lambda _: f"{BEGIN}\n{made}\n{END}", text, flags=re.DOTALL)


@plainly
def command(*, rows: Rows = ROWS, out: Page = PAGE) -> None:
    """Write the tables into the page."""
    out.write_text(placed(out.read_text(), section(Done(saved(rows)))))


if __name__ == "__main__":
    typer.run(command)
