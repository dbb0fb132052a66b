"""Tables in GitHub's Markdown."""

import re
from collections.abc import Iterable, Sequence

OF_NUMBERS = re.compile(r"[-+±<>%.,/()\d\s]|to|&nbsp;|[kMG]?B")
"""What numbers, intervals and sizes are written with."""


def table(rows: Iterable[Sequence[str]]) -> str:
    r"""Return rows as a table, the first as its head; a cell is one line.

    Columns of numbers are aligned to the right.

    Examples
    --------
    >>> print(table([("a", "b"), ("x", "2 ± 1"), ("2|3\n4", "-")]), end="")
    | a | b |
    | --- | ---: |
    | x | 2 ± 1 |
    | 2\|3 4 | - |
    """
    head, *body = [[_one_line(cell) for cell in row] for row in rows]
    rule = ["---:" if _numbers([row[at] for row in body]) else "---" for at in range(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *body))


def _one_line(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _numbers(cells: Sequence[str]) -> bool:
    """Say whether cells have numbers, but for those that say nothing."""
    said = [text for cell in cells if (text := cell.strip("*- "))]
    return any(map(str.isdigit, "".join(said))) and not any(OF_NUMBERS.sub("", t) for t in said)
