"""The table of a comparison as people read it, for the console, for the page and for files."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from .cell import Cell
from .compared import Compared


def cells(found: Compared) -> tuple[list[str], list[list[Cell]]]:
    """Return headings and rows of the table that people read, a row an arm and setting."""
    several, text = found.table["setting"].nunique() > 1, found.metric.text
    heads = ["setting"] * several + [found.by, "seeds", found.metric.title, "95 % interval"]
    if found.baseline is not None:
        heads += [f"Δ to {found.baseline}", "95 % interval", "d", "p", "p (Holm)"]
    rows = []
    for row in found.table.itertuples():
        cell = [Cell(row.setting)] * several + [Cell(row.arm), Cell(str(row.seeds))]
        cell += [Cell(plus_minus(found, row), best=row.best), Cell(_span(row.low, row.high, text))]
        if found.baseline is not None:
            ends = _span(row.difference_low, row.difference_high, partial(text, sign="+"))
            effect = f"{row.effect:+.2f}" if math.isfinite(row.effect) else "-"
            told = [text(row.difference, "+"), ends, effect, chance(row.p), chance(row.p_holm)]
            cell += map(Cell, told)
        rows.append(cell)
    return heads, rows


def plus_minus(found: Compared, row: Any, sign: str = "±") -> str:
    """Return a mean, and its standard deviation if it has one, with the same digits."""
    text = found.metric.text
    return text(row.mean) + (f" {sign} {text(row.std)}" if math.isfinite(row.std) else "")


def chance(p: float) -> str:
    """Return a p-value as people write it.

    Examples
    --------
    >>> chance(0.0421), chance(0.0000001), chance(math.nan)
    ('0.042', '<0.001', '-')
    """
    if not math.isfinite(p):
        return "-"
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _span(low: float, high: float, text: Callable[[float], str]) -> str:
    return f"{text(low)} to {text(high)}" if math.isfinite(low) else "-"
