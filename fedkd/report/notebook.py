"""What a notebook shows of results: small tables of HTML, in the page's own colours."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup, escape

from .cell import Cell

_CELL = "text-align:left;padding:2px 12px 2px 0"
"""Colours and fonts are the page's: it may be light or dark."""


def card(
    title: str, about: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]], *lines: str
) -> str:
    """Return a title with a remark, a table, and lines below it.

    Parameters
    ----------
    title, about : str
        What it is, and what is to be known beside that.
    heads : sequence of str
        Of the columns.
    rows : sequence of sequence of Cell
        The best of a column is bold, notes are dim.
    *lines : str
        Below the table; all texts are escaped, but for `Markup`.

    Examples
    --------
    >>> shown = card("a <b>", "1 run", ["seed"], [[Cell("0", best=True)]], "in x & y")
    >>> "<b>a &lt;b&gt;</b> 1 run" in shown, "<b>0</b>" in shown, "in x &amp; y" in shown
    (True, True, True)
    """
    head = Markup("").join(Markup('<th style="{}">{}</th>').format(_CELL, one) for one in heads)
    body = Markup("").join(_row(row) for row in rows)
    table = Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, body)
    below = Markup("<br>").join(escape(line) for line in lines if line)
    parts = Markup("<div><b>{}</b> {}</div>{}<div>{}</div>")
    return str(parts.format(title, about, table if rows else "", below))


def _row(cells: Iterable[Cell]) -> Markup:
    return Markup("<tr>{}</tr>").format(
        Markup("").join(Markup('<td style="{}">{}</td>').format(_CELL, _text(c)) for c in cells)
    )


def _text(cell: Cell) -> Markup:
    text = Markup("<b>{}</b>").format(cell.text) if cell.best else escape(cell.text)
    dim = Markup(' <span style="opacity:.6">{}</span>').format(cell.note)
    return text + dim if cell.note else text


def code(text: object) -> Markup:
    """Return what somebody may copy, such as a path or a command."""
    return Markup("<code>{}</code>").format(text)


def link(path: Path) -> Markup:
    """Return a path; below the current folder it is a link, which notebooks can follow."""
    try:
        near = path.resolve().relative_to(Path.cwd())
    except (OSError, ValueError):
        return code(path)
    words = '<a href="{}" target="_blank"><code>{}</code></a>'
    return Markup(words).format(quote(near.as_posix()), path)
