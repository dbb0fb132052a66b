"""The page of KAFAL's curves: claim, verdict, figure and tables from the rows that were kept.

``python -m fedkd.experiments.reproduce.kafal_curves_page`` writes ``docs/kafal_curves.md`` and its
figure, from ``--rows``; it runs nothing.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean

import typer

from ...report.markdown import table
from .cells import Row, missing
from .kafal_curves import ROWS
from .kafal_curves_compared import EXPECTED, MEASURES, Curve, Curves, as_expected, numbers, verdicts
from .kafal_curves_figure import figure
from .kafal_curves_plan import (
    AS_IS,
    CHANGES,
    CURVES,
    DATA,
    EARLY,
    KCFU,
    KSAS,
    LARGE,
    PLAIN,
    RANDOM,
    UPDATES,
    wanted,
)
from .kafal_curves_words import CAUSES, CLAIM, HALVES, PUBLISHED, SAMPLING, SHARES, SIDE, TAIL
from .kafal_curves_words import CURVES as DRAWN
from .pages import drawing
from .paired import apart, spread
from .tables import opening

PAGE, FIGURE = Path("docs/kafal_curves.md"), Path("experiments/figures/kafal_curves.png")
Line = tuple[str, ...]


def page(rows: list[Row]) -> str:
    """Return the page."""
    every = _sets(rows)
    small, large = Curves(rows, "mnist"), Curves(rows, LARGE)
    parts = [*opening(CLAIM, rows, progress(rows)), *verdicts(every), "", DRAWN]
    for title, found in zip(DATA.values(), every, strict=True):
        parts += [f"**{title}**\n", _curves(found)]
    parts += [SAMPLING, _sampling(every), HALVES, _halves(every)]
    parts += [CAUSES.format(cycles=EARLY), _causes(small), SIDE, _side(large)]
    seconds = sum(row["cpu_seconds"] for row in rows)
    return "\n".join([*parts, TAIL.format(seconds=f"{len(rows)} runs, {seconds / 60:.0f} minutes")])


def _sets(rows: list[Row]) -> list[Curves]:
    return [Curves(rows, name) for name in DATA]


def progress(rows: list[Row]) -> str:
    """Return what is not run yet, "" when all is."""
    left = {title: (wanted([name]), title) for name, title in DATA.items()}
    said = [
        f"{len(todo)} of {len(every)} runs of {title}"
        for every, title in left.values()
        if (todo := missing(every, rows))
    ]
    return f"**Not done yet:** {', '.join(said)} are missing.\n" if said else ""


def _shown(heads: Line, lines: list[Line]) -> str:
    return table([heads, *lines]) if lines else "Not run yet.\n"


def by_cycle(values: Iterable[Sequence[float]]) -> list[list[float]]:
    """Return numbers by seed as numbers by cycle.

    Examples
    --------
    >>> by_cycle([[1.0, 2.0], [3.0, 4.0]])
    [[1.0, 3.0], [2.0, 4.0]]
    """
    return [list(one) for one in zip(*values, strict=True)]


def _curves(found: Curves) -> str:
    lines, labels = list[Line](), list[str]()
    for curve in CURVES:
        if not (cell := found.rows(curve)):
            continue
        values = found.of(curve).values()
        labels = [f"{n:.0f} labels" for n in numbers(next(iter(cell.values())), "labels")]
        means = spread([fmean(one) for one in values])
        took = fmean(row["cpu_seconds"] for row in cell.values())
        numbered = *map(spread, by_cycle(values)), means, str(len(cell)), f"{took:.0f}"
        lines.append((*(f"`{name}`" for name in curve), *numbered))
    heads = "update", "sampler", *labels, "mean over cycles", "seeds", "CPU s"
    return _shown(heads, lines)


def _sampling(every: Sequence[Curves]) -> str:
    lines = list[Line]()
    for title, found in zip(DATA.values(), every, strict=True):
        for update, sampler in CURVES:
            leads = [found.lead((update, KSAS), (update, sampler), m) for m in MEASURES]
            if sampler != KSAS and leads[0]:
                about = title, f"`{update}`", f"`{sampler}`"
                lines.append((*about, *map(apart, leads), str(len(leads[0]))))
    return _shown(("data", "update", "KSAS minus", *MEASURES, "seeds"), lines)


def _halves(every: Sequence[Curves]) -> str:
    found = list[tuple[Line, list[str], Line]]()
    for title, curves in zip(DATA.values(), every, strict=True):
        for update, (base, name) in product(UPDATES, CURVES):
            pairs = curves.paired((update, name), (PLAIN, name)).values()
            if base == PLAIN != update and pairs:
                ends = apart([fmean(one) for one in pairs]), str(len(pairs))
                gaps = [apart(one) for one in by_cycle(pairs)]
                found.append(((title, f"`{update}`", f"`{name}`"), gaps, ends))
    cycles = max((len(gaps) for _, gaps, _ in found), default=0)
    lines = [(*about, *gaps, *[""] * (cycles - len(gaps)), *ends) for about, gaps, ends in found]
    heads = "data", "update", "sampler", *(f"cycle {n + 1}" for n in range(cycles))
    return _shown((*heads, "mean over cycles", "seeds"), lines)


def _causes(found: Curves) -> str:
    curve: Curve = PLAIN, RANDOM
    lines = list[Line]()
    for change in (AS_IS, *CHANGES):
        behind, kcfu = found.behind(change), found.behind(change, KCFU)
        if not (behind or kcfu):
            continue
        plain = [fmean(one[:EARLY]) for one in found.of(curve, change).values()]
        lacking = spread([numbers(r, "absent")[0] for r in found.rows(curve, change).values()])
        gaps = apart([*behind.values()]), apart([*kcfu.values()])
        lines.append((*_cause(change), lacking, spread(plain), *gaps, *_moves(found, change)))
    heads = "changed", "may be why", "lacking", "`plain`", "`balanced` minus it"
    return _shown((*heads, "`kcfu` minus it", "moves", "that is", "seeds"), lines)


def _cause(change: str) -> Line:
    return ("nothing", "") if change == AS_IS else (change, EXPECTED[change][0])


def _moves(found: Curves, change: str) -> Line:
    seeds = str(len(found.behind(change)))
    if change == AS_IS:
        return "", "", seeds
    moved = found.moved(change)
    return apart(moved), as_expected(change, moved), seeds


def _side(found: Curves) -> str:
    lines = [("published", f"`{n}`", *(f"{v:.1f}" for v in own)) for n, own in PUBLISHED.items()]
    for update, sampler in CURVES:
        if values := found.of((update, sampler)).values():
            numbered = [spread(one) for one in by_cycle(values)]
            rest = ["-"] * (len(SHARES) - len(numbered))
            lines.append((f"ours, `{update}`", f"`{sampler}`", *numbered, *rest))
    return table([("", "sampler", *(f"{share} %" for share in SHARES)), *lines])


command = drawing(page, PAGE, ROWS, lambda rows: figure(_sets(rows)), FIGURE)

if __name__ == "__main__":
    typer.run(command)
