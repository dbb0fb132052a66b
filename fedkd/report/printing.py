"""The comparison table on a console."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from .cell import Cell
from .cells import cells
from .compared import Compared
from .drawing.labels import differences
from .footnotes import meaning, warnings
from .statistics import Group
from .table import columns, headings, rows, setting_keys

ROOM = 110
"""Characters of a console from which there is room for all columns: eighty have none."""


def print_table(groups: Sequence[Group], console: Console, more: Iterable[str] = ()) -> None:
    """Print the comparison table and its footnotes, and `more` of these."""
    table = _empty()
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
    notes = meaning(groups, wide) + differences(groups) + warnings(groups)
    _print(table, [*notes, *more], console)


def print_comparison(found: Compared, console: Console) -> None:
    """Print the table of a comparison and its notes."""
    heads, rows = cells(found)
    table, left = _empty(), heads.index("seeds")
    for index, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if index >= left else "left")
    for row in rows:
        table.add_row(*[_styled(cell) for cell in row])
    _print(table, found.notes, console)


def _empty() -> Table:
    return Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)


def _print(table: Table, notes: Sequence[str], console: Console) -> None:
    width = console.width
    if not console.is_terminal:  # a file's table may be as wide as it needs; a terminal's is folded
        wanted = Measurement.get(console, console.options.update(width=500), table).maximum
        console.width = max(width, wanted)
    console.print(table, crop=False)
    console.width = width
    for line in notes:
        console.print(Text(line, style="dim"))


def _styled(cell: Cell) -> Text:
    text = Text(cell.text, style="bold" if cell.best else "")
    if cell.note:
        text.append(f"  {cell.note}", style="not bold dim")
    return text
