"""The commands that write pages, from the rows that were kept or from others that are named."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from os.path import normpath, relpath
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from matplotlib.figure import Figure

from .kept import Row, plainly, saved

Rows = Annotated[Path, typer.Option(exists=True, help="What was run.")]
Page = Annotated[Path, typer.Option(help="The page.")]
Picture = Annotated[Path, typer.Option(help="The figure.")]

LINK = re.compile(r"(?<=\]\()[^)#:]+(?=[)#])")
"""Where a link of a page leads within the repository."""


def linked(text: str, home: Path, out: Path, moved: Mapping[Path, Path]) -> str:
    """Return a page with its links as they are from elsewhere, and to other rows and figures.

    Parameters
    ----------
    text : str
        The page as it is at `home`.
    home, out : Path
        Where its links are from, and where it is going to be.
    moved : mapping
        Files that it links to, and those that it was made of instead. Beside rows is a manifest.

    Examples
    --------
    >>> home, rows = Path("docs/a.md"), {Path("docs/rows/a.csv"): Path("mine/b.csv")}
    >>> text = "[rows](rows/a.csv), [manifest](rows/a.json), [b](b.md#c), [there](https://x.org)"
    >>> linked(text, home, home, {}) == text
    True
    >>> linked(text, home, Path("mine/a.md"), rows)
    '[rows](b.csv), [manifest](b.json), [b](../docs/b.md#c), [there](https://x.org)'
    """
    beside = {usual.with_suffix(".json"): now.with_suffix(".json") for usual, now in moved.items()}
    everything = beside | dict(moved)

    def led(link: re.Match[str]) -> str:
        target = Path(normpath(home.parent / link[0]))
        return relpath(everything.get(target, target), out.parent)

    return LINK.sub(led, text)


def again(text: str, home: Path, out: Path, moved: Mapping[Path, Path]) -> str:
    """Return a page whose commands go on with the rows that it was made of, and write it there.

    Examples
    --------
    >>> home, rows = Path("docs/a.md"), {Path("docs/rows/a.csv"): Path("b.csv")}
    >>> text = "python -m fedkd.experiments.reproduce.a_page"
    >>> again(text, home, Path("b.md"), rows).removeprefix(text)
    ' --rows b.csv --out b.md'
    """
    to = "" if out == home else f" --out {quote(str(out))}"
    for usual, now in moved.items():
        if usual.suffix != ".csv":  # a figure
            continue
        of = "" if now == usual else f" --rows {quote(str(now))}"
        command = rf"(python -m fedkd\.experiments\.reproduce\.{usual.stem})(_page)?(?!\w)"
        text = re.sub(command, partial(_with, of, to), text)
    return text


def _with(of: str, to: str, command: re.Match[str]) -> str:
    return command[0] + of + (to if command[2] else "")


def write(text: str, home: Path, out: Path, moved: Mapping[Path, Path]) -> None:
    """Write a page with the links and commands of what it was made of, see `linked` and `again`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    text = again(linked(text, home, out, moved), home, out, moved)
    out.write_text(text, encoding="utf-8")


def writing(
    page: Callable[..., str], to: Path, kept: Path, others: Path | None = None
) -> Callable[..., None]:
    """Return a command that writes a claim's page.

    Parameters
    ----------
    page : callable
        Returns it for the rows; where there are others, for these too.
    to, kept : Path
        The page and the rows, unless others are asked for.
    others : Path or None
        Rows of another claim that it needs.
    """

    @plainly
    def command(*, rows: Rows = kept, out: Page = to) -> None:
        """Write the page."""
        more = [] if others is None else [saved(others)]
        write(page(saved(rows), *more), to, out, {kept: rows})

    return command


def drawing(
    page: Callable[[list[Row]], str],
    to: Path,
    kept: Path,
    figure: Callable[[list[Row]], Figure],
    drawn: Path,
) -> Callable[..., None]:
    """Return a command that writes a claim's page and its figure, see `writing`."""

    @plainly
    def command(*, rows: Rows = kept, out: Page = to, picture: Picture = drawn) -> None:
        """Write the page and its figure."""
        found = saved(rows)
        write(page(found), to, out, {kept: rows, drawn: picture})
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure(found).savefig(picture, dpi=150)

    return command
