"""The tables of ``fedkd list``: everything that can be chosen by name, and every key."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..config.hints import Entry
from ..config.schema import keys
from ..errors import ConfigError
from ..plugins import describe
from ..plugins.documented import entries
from ..plugins.table import SEAMS, seams_of

NAMES = 30
"""Columns at most that a name has in a table."""


@dataclass(frozen=True)
class Item:
    """Something that can be listed.

    Parameters
    ----------
    name : str
        Its name.
    line : str
        What it is.
    entries : sequence of Entry
        Its parameters.
    """

    name: str
    line: str
    entries: tuple[Entry, ...] = ()

    @property
    def parameters(self) -> str:
        """Its parameters with their defaults, in a line."""
        return ", ".join(f"{e.key}={e.default}" if e.default else e.key for e in self.entries)


def show(what: str | None, name: str | None, console: Console) -> None:
    """Print what can be listed; one of `LISTS`; or all that has one name, with its parameters.

    Parameters
    ----------
    what : str, optional
        One of `LISTS`, a name, or ``FILE:Class``.
    name : str, optional
        A name in that list; of keys, how they begin.
    console : Console
        Where to print.

    Raises
    ------
    ConfigError
        If there is no such list or name.
    """
    if what is None:
        print_items([Item(one, LISTS[one].title) for one in LISTS], console)
    elif what not in LISTS:
        if name is not None:
            raise ConfigError("list", what, "cannot be listed", LISTS)
        _show_named(what, console)
    elif name is None:
        print_items(LISTS[what].items(), console)
        if LISTS[what].own:
            console.print(f"\nYour own: {escape(LISTS[what].own)}", style="dim")
    elif what == "keys":
        begin = name.removesuffix(".")
        found = [item for item in _keys() if f"{item.name}.".startswith(f"{begin}.")]
        print_items(found or _unknown(name, what), console)
    else:
        found = [item for item in LISTS[what].items() if item.name == name]
        for item in found or _unknown(name, what):
            _show_one(item, what, console)


def _unknown(name: str, what: str) -> list[Item]:
    raise ConfigError(f"list {what}", name, "no such name", [i.name for i in LISTS[what].items()])


def _show_named(name: str, console: Console) -> None:
    """Print what a plug-in, or anything else of that name, takes."""
    if ":" in name or name.endswith(".py"):
        seam = seams_of(name)[0]
        _show_one(item_of(name, seam.resolve(name), seam.from_run), seam.name, console)
        return
    named = [(one, item) for one in LISTS if one != "keys" for item in LISTS[one].items()]
    found = [(one, item) for one, item in named if item.name == name]
    if not found:
        every = {*LISTS, *(item.name for _, item in named)}
        raise ConfigError("list", name, "cannot be listed", every)
    for what, item in found:
        _show_one(item, what, console)


def print_items(items: Iterable[Item], console: Console) -> None:
    """Print names, what they are and, under that, their parameters."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", overflow="fold", max_width=NAMES)
    table.add_column(overflow="fold")
    for item in items:
        below = f"\n[cyan]{escape(item.parameters)}[/]" if item.entries else ""
        table.add_row(escape(item.name), escape(item.line) + below)
    console.print(table)


def _show_one(item: Item, what: str, console: Console) -> None:
    """Print what one of a list is, and what it takes."""
    console.print(f"[bold]{escape(item.name)}[/] [dim]({what})[/]\n{escape(item.line)}")
    if item.entries:
        console.print()
        print_items([Item(entry.key, _told(entry)) for entry in item.entries], console)


def _told(entry: Entry) -> str:
    """Return type, default and allowed values of a parameter, and what it means."""
    allowed = f" ({entry.allowed})" if entry.allowed else ""
    facts = f"{entry.type}{allowed}" + (f" = {entry.default}" if entry.default else "")
    return "\n".join(filter(None, [facts, entry.words]))


def item_of(name: str, cls: Any, hidden: tuple[str, ...] = ()) -> Item:
    """Return a plug-in and what it takes, but for parameters that are hidden."""
    return Item(name, describe(cls)[0], tuple(entries(cls, hidden)))


def _privacy() -> Iterator[Item]:
    from ..privacy.budget import Budget

    yield from _plugged("privacy")
    name, words = "(all)", "Keys of the run, whatever the mechanisms."
    yield Item(name, words, tuple(entries(Budget)))


def _plugged(seam: str) -> Iterator[Item]:
    for name, cls in SEAMS[seam].shipped().items():
        yield item_of(name, cls, SEAMS[seam].from_run)


def _data() -> Iterator[Item]:
    from ..data.catalogue import CATALOGUE, HUB

    for name in CATALOGUE:
        hub = f"huggingface.co/datasets/{HUB[name]}" if name in HUB else ""
        yield Item(name, hub or "scikit-learn's 8 x 8 digits, no download")


def _engines() -> Iterator[Item]:
    from ..engine import engine_class

    for name in next(e for e in keys() if e.key == "engine.name").allowed.split(", "):
        yield Item(name, describe(engine_class(name))[0])


def _partitioners() -> Iterator[Item]:
    from ..data.flower import partitioner as flower

    seam = SEAMS["partitioners"]
    automatic = "iid if data.alpha is null, else dirichlet (of equal sizes where they are given)"
    yield Item("auto", automatic)
    yield from _plugged(seam.name)
    for name in sorted(flower.__all__):
        cls = getattr(flower, name)
        if cls not in seam.shipped().values() and not inspect.isabstract(cls):
            yield item_of(name, cls, seam.from_run)


def _experiments() -> Iterator[Item]:
    from ..config.overrides import presets

    for name, path in presets().items():
        yield Item(name, _comment(path))


def _comment(path: Path) -> str:
    lines = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
    return next((line for line in lines if not line.startswith("@")), "")


def _keys() -> Iterator[Item]:
    return (Item(entry.key, _told(entry), ()) for entry in keys())


@dataclass(frozen=True)
class List:
    """Something that `show` can print.

    Parameters
    ----------
    title : str
        What it lists.
    items : callable
        Returns what is in it.
    own : str
        How one's own is given.
    """

    title: str
    items: Callable[[], Iterator[Item]]
    own: str = ""


LISTS = {name: List(seam.title, partial(_plugged, name), seam.own) for name, seam in SEAMS.items()}
"""What can be listed."""
LISTS["privacy"] = replace(LISTS["privacy"], items=_privacy)
LISTS["partitioners"] = replace(LISTS["partitioners"], items=_partitioners)
LISTS |= {
    "data": List(
        "data sets",
        _data,
        "data=FILE (.parquet, .csv, .tsv, .csv.gz) or FOLDER of such, or of pictures by class",
    ),
    "engines": List("what executes the clients", _engines),
    "experiments": List("presets, for experiment=NAME", _experiments),
    "keys": List("every key of a run, and of a sweep", _keys),
}
