"""The page of KnFu's phase diagram: claim, verdict, maps and tables from the rows that were kept.

``python -m fedkd.experiments.reproduce.knfu_phase_page`` writes ``docs/knfu_phase.md`` and its
figure, from ``--rows``; it runs nothing.
"""

from itertools import product
from pathlib import Path

import numpy as np
import typer

from ...report.markdown import table
from .cells import Row, missing
from .knfu_phase import ROWS
from .knfu_phase_compared import Rows, Winner, choices
from .knfu_phase_map import figure
from .knfu_phase_plan import (
    ALIKE,
    ALPHAS,
    AS_IS,
    AUTO,
    FUSING,
    HELD,
    HERE,
    LIKES,
    METHODS,
    SCANS,
    SETTINGS,
    SIZES,
    own,
    wanted,
)
from .knfu_phase_steps import section
from .knfu_phase_verdict import verdicts
from .knfu_phase_words import CHOICE, CLAIM, ELSEWHERE, GAIN, LIKE, MAP, MINUS, STEPS_THERE, TAIL
from .knfu_phase_words import SCANS as SCANNED
from .pages import drawing
from .paired import PLACES, apart, spread
from .tables import opening

PAGE, FIGURE = Path("docs/knfu_phase.md"), Path("experiments/figures/knfu_phase.png")

BESIDE = LIKES | {"logits, chosen beta": (AUTO, "fedmd")}
"""What is exchanged: KnFu's forms of it, and FedMD's."""


def page(rows: list[Row]) -> str:
    """Return the page."""
    mnist, cifar = (Rows(rows, data) for data in SETTINGS)
    parts = [*opening(CLAIM, rows, progress(rows)), *verdicts(mnist, cifar), ""]
    parts += [MAP, *_maps(mnist), LIKE, _like(mnist), GAIN, _gain(mnist)]
    parts += [section(mnist), _choice(mnist), _scans(mnist)]
    if cifar.all:
        parts += [ELSEWHERE, *_maps(cifar), MINUS, _like(cifar), section(cifar, STEPS_THERE)]
    seconds = sum(row["cpu_seconds"] for row in rows)
    return "\n".join([*parts, TAIL.format(seconds=f"{len(rows)} runs, {seconds / 60:.0f} minutes")])


def progress(rows: list[Row]) -> str:
    """Return what is not run yet, "" when all is."""
    left = {data: (len(missing(wanted(data), rows)), len(wanted(data))) for data in SETTINGS}
    said = [f"{n} of {every} runs of {data}" for data, (n, every) in left.items() if n]
    return f"**Not done yet:** {' and '.join(said)} are missing.\n" if said else ""


def named(winner: Winner | None) -> str:
    """Return a cell of the map.

    Examples
    --------
    >>> named(Winner("knfu", 90.0, ("local",), 3)), named(Winner("knfu", 90.0, (), 2)), named(None)
    ('knfu 90.0 (local)', 'knfu 90.0 (undecided)', '-')
    """
    if winner is None:
        return "-"
    doubt = ", ".join(winner.others) if winner.seeds >= 3 else "undecided"
    return f"{winner.name} {winner.mean:.1f}" + (f" ({doubt})" if doubt else "")


def _grid(title: str, cells: list[list[str]], rows: list[str]) -> str:
    heads = (title, *(f"alpha {alpha:g}" for alpha in ALPHAS))
    return table([heads, *((name, *line) for name, line in zip(rows, cells, strict=True))])


def _maps(rows: Rows) -> list[str]:
    sizes = [str(size) for size in SIZES]
    return [
        f"**{place}**\n\n"
        + _grid("samples", [[named(rows.winner(c, n, a)) for a in ALPHAS] for n in SIZES], sizes)
        for place, c in PLACES.items()
    ]


def _like(rows: Rows) -> str:
    names, cells = [], []
    for (what, (ours, theirs)), n in product(BESIDE.items(), SIZES):
        found = [
            [apart(rows.paired(ours, theirs, column, n, a)) for column in PLACES.values()]
            for a in ALPHAS
        ]
        if any(pair != ["-", "-"] for pair in found):
            names.append(f"{what}, {n} samples")
            cells.append([" / ".join(pair) for pair in found])
    return _grid("local / global", cells, names)


def _gain(rows: Rows) -> str:
    names, cells = [], []
    for n, method in product(SIZES, FUSING):
        pairs = [[rows.gaining(method, c, n, a) for c in PLACES.values()] for a in ALPHAS]
        if any(pair[0] for pair in pairs):
            names.append(f"{n} samples, `{method}`")
            cells.append(
                [" / ".join(f"{100 * np.mean(v):.0f}" if v else "-" for v in p) for p in pairs]
            )
    return _grid("", cells, names)


def _choice(rows: Rows) -> str:
    found = {form: choices(rows, form) for form in ("fedmd", "fedmd, soft labels")}
    said = " ".join(
        f"With `{form}` it is below by more than its own deviation over seeds in "
        f"{sum(one.below for one in every)} of {len(every)} cells that have two seeds or more."
        for form, every in found.items()
    )
    lines = [("samples", "alpha", "better", "auto minus that", "deviation of auto")]
    for one in found["fedmd"]:
        cell = str(one.samples), f"{one.alpha:g}", f"`{one.better}`"
        lines.append((*cell, apart(one.differences), f"{one.deviation:.1f}"))
    return (
        CHOICE.format(said=said, price=_price(rows))
        + "\n"
        + (table(lines) if len(lines) > 1 else "")
    )


def _price(rows: Rows) -> str:
    """Return what it costs FedMD to hold out as much, where clients are alike."""
    cell = rows.of("fedmd", *ALIKE, change=HELD)
    if not cell:
        return "what that costs FedMD has not been run."
    held = spread([100 * row["local"] for row in cell.values()])
    plain, auto = (spread([*rows.values(n, "local", *ALIKE).values()]) for n in ("fedmd", AUTO))
    samples, alpha = ALIKE
    return (
        f"at {samples} samples and alpha {alpha:g} FedMD has {plain} with all of them, {held} with "
        f"as many held out, and `{AUTO}` {auto}."
    )


def _scans(rows: Rows) -> str:
    samples, alpha = HERE
    lines: list[tuple[str, ...]] = [("changed", "to", "method", "local", "global", "seeds")]
    for what, (methods, changes) in SCANS.items():
        for change, method in product(changes, methods):
            cell = rows.of(method, change=AS_IS if change in own(method) else change)
            if cell:
                numbers = (spread([100 * r[c] for r in cell.values()]) for c in PLACES.values())
                lines.append((what, f"`{change}`", f"`{method}`", *numbers, str(len(cell))))
    base = [("nothing", "", f"`{name}`", *_base(rows, name)) for name in METHODS if rows.of(name)]
    shown = table([lines[0], *base, *lines[1:]]) if base else "Not run yet.\n"
    return SCANNED.format(samples=samples, alpha=alpha) + "\n" + shown


def _base(rows: Rows, name: str) -> tuple[str, ...]:
    cell = rows.of(name).values()
    return *(spread([100 * row[c] for row in cell]) for c in PLACES.values()), str(len(cell))


command = drawing(page, PAGE, ROWS, lambda rows: figure(Rows(rows, "mnist")), FIGURE)

if __name__ == "__main__":
    typer.run(command)
